Feature: Shards work side by side
  A server runs one command at a time, so what takes a server's time is what a cluster divides. The time of a request is
  injected here, so that three servers can be told from one on a machine with two processors.

  Rule: Three primaries serve more than one if they share the work

    @disruptive
    Scenario: even shares pay, one primary with most of the slots does not
      Given a cluster of its own whose work can be made to take its time
      Then requests that take 20 milliseconds are served so much faster than by one
        | SHARES    | TIMES FASTER |
        | 1 : 1 : 1 | at least 1.6 |
        | 8 : 1 : 1 | at most 1.5  |

  Rule: A shard that is busy makes only its own clients wait

    @disruptive
    Scenario: a slow command on one shard leaves the others alone
      Given a cluster of its own whose work can be made to take its time
      Then while one primary is busy for 1 second the others answer within 0.2 seconds

  Rule: The backlog is longer than what is written while a replica is away

    @disruptive
    Scenario: a long backlog saves a full copy after a short cut
      Then a replica that was cut off while 5 MB were written comes back like this
        | BACKLOG | FULL COPIES |
        | 16kb    | exactly 1   |
        | 20mb    | exactly 0   |
