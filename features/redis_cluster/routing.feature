Feature: A key is found at the node that owns its slot
  A client may ask the wrong node: its map is old, or it has none yet. The answer sends it to the
  right one. A client that does not follow fails at every change of the cluster.

  @core
  Rule: A node that does not own a key's slot names the one that does

    @cluster-065 @audit
    Scenario: a wrong node redirects and the client follows
      Given the cluster holds "user:1" as "Ann"
      Then every primary that does not own "user:1" answers MOVED with its slot and its owner
      And a client whose map is wrong about "user:1" reads "Ann"
      And from any primary to any of 300 keys there is at most 1 redirection

  Rule: While a slot is on the move, each of its keys is found where it is

    @cluster-066 @disruptive
    Scenario: a key that has gone ahead is asked for at the new node, and asked with leave
      Given a cluster of 3 primaries with 1 replica each
      And the cluster holds "{cart}:1" as "here"
      And the cluster holds "{cart}:2" as "ahead"
      When the slot of "{cart}" is on its way to another node and "{cart}:2" has gone ahead
      Then the owner of "{cart}:1" answers
        | COMMANDS        | ANSWER |
        | GET {cart}:1    | here   |
        | GET {cart}:2    | ASK    |
        | GET {cart}:none | ASK    |
      And the new node answers
        | COMMANDS                       | ANSWER   |
        | GET {cart}:2                   | MOVED    |
        | ASKING; GET {cart}:2           | ahead    |
        | ASKING; MGET {cart}:1 {cart}:2 | TRYAGAIN |
      And "{cart}:1" reads "here" through a client of the cluster
      And "{cart}:2" reads "ahead" through a client of the cluster

    @cluster-067 @disruptive
    Scenario: who asks for both, the one here and the one ahead, has to try again
      Redis 6.2 sends such a client on to the new node, which lets it try again: one more round trip each time.

      Given nodes as of Redis 7.0
      And a cluster of 3 primaries with 1 replica each
      And the cluster holds "{cart}:1" as "here"
      And the cluster holds "{cart}:2" as "ahead"
      When the slot of "{cart}" is on its way to another node and "{cart}:2" has gone ahead
      Then the owner of "{cart}:1" answers
        | COMMANDS               | ANSWER   |
        | MGET {cart}:1 {cart}:2 | TRYAGAIN |

  Rule: One command takes keys of one slot; a hash tag puts them there

    @cluster-068
    Scenario Outline: <COMMANDS> is refused over two slots and done with one tag
      Given the sets A and B in different slots of one node
      Then "<COMMANDS>" is answered with "CROSSSLOT"
      Given the sets A and B with one hash tag
      Then "<COMMANDS>" is answered with "<ANSWER>"

      Examples:
        | COMMANDS                     | ANSWER  |
        | MSET A 1 B 2                 | OK      |
        | RENAME A B                   | OK      |
        | SUNION A B                   | ann bob |
        | EVAL return(7) 2 A B         | 7       |
        | MULTI; DEL A; SET B 2; EXEC  | 1 OK    |

  Rule: A pipeline over several nodes is answered in the order of its commands

    @cluster-069
    Scenario: one bad command in a pipeline fails alone
      When one pipeline writes and reads 300 keys and increments a text in between
      Then the answers are in the order of the commands
      And the increment of a text failed, and nothing else

  Rule: Numbered databases do not keep applications apart

    @cluster-070
    Scenario: a client may select the databases of the configuration and no others
      Then each node lets a client select exactly the databases that it is configured to have

    @cluster-071 @disruptive
    Scenario: a cluster that is configured for several databases has exactly so many
      Given a cluster of 3 primaries with 1 replica each and these settings
        | SETTING           | VALUE |
        | cluster-databases | 4     |
      Then each node lets a client select exactly the databases that it is configured to have
