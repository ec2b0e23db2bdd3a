Feature: Shards work side by side
  A server runs one command at a time, so what takes a server's time is what a cluster divides. The time of a request is
  injected here, so that three servers can be told from one on a machine with two processors.

  Rule: Three primaries serve more than one if they share the work

    @tuning-036 @disruptive
    Scenario: even shares pay, one primary with most of the slots does not
      Requests go to the owners of their keys. What a busy machine adds to a request of 20 milliseconds, it adds to both
      sides; 20 keys fall unevenly on three nodes, so three times as fast is not to be had.

      Given a cluster of its own whose work can be made to take its time
      Then the owners of their keys serve requests at least 1.6 times faster than one alone
      When the first primary gets most of the slots
      Then the owners of their keys serve requests at most 1.6 times faster than one alone

    @tuning-037 @disruptive
    Scenario: throughput of 1, 3 and 6 primaries on this machine
      Raw bytes make the servers the limit where there are processors for them, redis-py makes the client. Neither says
      what six machines would do; the processor time of each operation does, as it hardly depends on their number.

      Then this is what so many primaries serve
        | PRIMARIES |
        | 1         |
        | 3         |
        | 6         |

  Rule: A shard that is busy makes only its own clients wait

    @tuning-038 @disruptive
    Scenario: a slow command on one shard leaves the others alone
      Given a cluster of its own whose work can be made to take its time
      Then while one primary is busy for 1 second each of the others answers at least 20 times

  Rule: The backlog is longer than what is written while a replica is away

    @tuning-039 @disruptive
    Scenario: a long backlog saves a full copy after a short cut
      Then a replica that was cut off while 5 MB were written comes back like this
        | BACKLOG | FULL COPIES |
        | 16kb    | exactly 1   |
        | 20mb    | exactly 0   |

  Rule: The node timeout is longer than the hangs that you mean to sit out
    A short one replaces a dead primary sooner, and also one that a slow disk or a long command held up for a moment.

    @tuning-040 @disruptive
    Scenario: a hang costs a failover with a short timeout, and none with a long one
      Then a primary that hangs for 3 seconds is replaced like this
        | NODE TIMEOUT     | FAILOVERS |
        | 10 seconds       | exactly 0 |
        | 500 milliseconds | exactly 1 |
