Feature: A function is where it was loaded
  A function belongs to a node, not to the cluster. Loaded at one primary, it works for a third of
  the keys: every test with one lucky key passes, and the other users see "function not found".

  Rule: A function has to be loaded at every primary, and replicas get it from theirs

    @cluster-032 @disruptive
    Scenario: a function loaded at one primary is not found at the others
      Given a cluster of 3 primaries with 1 replica each
      When the function "greet" is loaded at the owner of "user:1"
      Then the owner of "user:1" answers
        | COMMANDS             | ANSWER |
        | FCALL greet 1 user:1 | hello  |
      And a replica of "user:1" answers
        | COMMANDS                          | ANSWER |
        | READONLY; FCALL_RO greet 1 user:1 | hello  |
      And a primary that does not own "user:1" answers
        | COMMANDS      | ANSWER |
        | FCALL greet 0 | ERR    |
      When the function "greet" is loaded at every primary
      Then a primary that does not own "user:1" answers
        | COMMANDS      | ANSWER |
        | FCALL greet 0 | hello  |
