@disruptive
Feature: Rotated credentials: clients of a cluster do not notice when the login of all nodes changes
  The nodes of a cluster do not share users: a rotation that forgets one node locks the clients out of its slots. A
  client has connections to each node, and reads the slot map again after a lost one, with the login of that moment.

  Rule: With an overlap, in which old and new login work, no command fails

    @cluster-150
    Scenario Outline: clients with the login from <CREDENTIALS> write and read through a rotation on every node
      Given an isolated cluster of 3 primaries without replicas
        | SETTING     | VALUE         |
        | credentials | <CREDENTIALS> |
      And a workload of 2 writers and 1 reader
      When the clients get a new login <OVERLAP> before the old one ends
      Then <CUT> connections were cut off
      And the workload measured
        | MEASUREMENT         | BOUND             |
        | writes acknowledged | at least 200      |
        | writes lost         | exactly 0         |
        | errors              | exactly 0         |
        | longest gap         | within 2 seconds  |

      Examples:
        | CREDENTIALS | OVERLAP          | CUT        |
        | a file      | 100 milliseconds | at least 1 |

      @slow
      Examples: more
        | CREDENTIALS | OVERLAP   | CUT       |
        | a stream    | 5 seconds | exactly 0 |

  Rule: Without an overlap, commands fail until the new login has come

    @cluster-151 @slow
    Scenario: a client whose login is late fails meanwhile, and works again with the next login
      Given an isolated cluster of 3 primaries without replicas
        | SETTING     | VALUE  |
        | credentials | a file |
      And a workload of 2 writers and 1 reader
      When the clients get a new login 500 milliseconds after the old one ends
      Then the workload measured
        | MEASUREMENT | BOUND              |
        | writes lost | exactly 0          |
        | errors      | at least 1         |
        | longest gap | within 3 seconds   |
