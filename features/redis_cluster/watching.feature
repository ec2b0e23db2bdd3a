Feature: The spread can be watched while it changes
  Whoever reshards wants to see that slots and keys arrive, and that nothing fails meanwhile, without
  a dashboard that shows it a minute later.

  Rule: The example shows the spread live until it is told to end

    @cluster-090 @disruptive
    Scenario: slots move while somebody watches
      Given a cluster of 3 primaries with 1 replica each
      And somebody watches it with the example
      When 1000 slots move from the first primary to the second
      Then within 5 seconds the watcher sees that they have gained slots
        | PRIMARY | SLOTS |
        | first   | -1000 |
        | second  | +1000 |
        | third   | +0    |
      And it saw no error
      And on Ctrl-C it ends with 0 and leaves no key
