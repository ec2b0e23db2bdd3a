Feature: A cluster is fast if its nodes share the keys, the reads and the round trips
  Three nodes do three times the work of one only if the load is spread. A client that reads key after key waits for one
  node at a time. A hot key, or one hash tag for all keys, sends all traffic to one node, and two idle.

  Rule: Keys that are read together share a hash tag

    @tuning-001 @disruptive
    Scenario: with one hash tag, MGET reads 50 keys by 1 call instead of 40 or more
      Keys share a call only if they share a slot. Fifty numbered keys lie in 40 slots or more for each of the 65,536
      states of CRC16 that a prefix can leave; in 50 slots for 255 of 256 prefixes.

      Given an isolated cluster of 3 primaries with 1 replica each
      And 50 values of 100 bytes
      Then each way cost
        | WAY                            | KEY READS   |
        | GET one at a time              | exactly 50  |
        | MGET of keys in many slots     | at least 40 |
        | MGET of keys with one hash tag | exactly 1   |

  Rule: Each node gets its commands in one pipeline, and all nodes work at the same time

    @tuning-002
    Scenario: one pipeline a node takes less processor time than single reads or redis-py's cluster pipeline
      Both pipelines wait for the same nodes side by side. The bound is on the client's processor time, which limits
      nearly every Python program.

      Given the cluster under test
      And 300 values of 100 bytes
      Then the comparison shows
        | NAIVE                       | TUNED                       | TIMES FASTER | TIMES LESS PROCESSOR TIME |
        | GET one at a time           | redis-py's cluster pipeline | reported     | at least 1.5              |
        | redis-py's cluster pipeline | one pipeline a node         | reported     | at least 2.5              |

    @tuning-003
    Scenario: one pipeline a node returns replies in order, and an error stays with its command
      Given the cluster under test
      When a pipeline of 600 commands is sent
        | OPTION | VALUE               |
        | client | one pipeline a node |
      Then exactly 0 replies were out of order
      And exactly 1 command was refused
      And the pipeline failed with "not an integer"

    @tuning-004
    Scenario: after a resharding, a client with a stale slot map still reads every value by one pipeline a node
      Nodes that do not own a key reply MOVED, and the client asks the owner.

      Given the cluster under test
      And 300 values of 100 bytes
      Then each way cost
        | WAY                                 | CORRECT VALUES |
        | one pipeline a node, stale slot map | exactly 300    |

  Rule: Replicas take reads from their primaries if the client lets them

    @tuning-005 @disruptive
    Scenario: a client chooses whether primaries, replicas or all nodes reply to its reads
      Given an isolated cluster of 3 primaries with 1 replica each
      And 300 values of 100 bytes
      Then each way cost
        | WAY                | KEY READS   | SHARE OF THE REPLICAS |
        | GET one at a time  | exactly 300 | exactly 0 %           |
        | GET from all nodes | exactly 300 | between 40 and 60 %   |
        | GET from replicas  | exactly 300 | exactly 100 %         |

  Rule: Copies spread the load of a hot key

    @tuning-006 @disruptive
    Scenario: 16 copies of a hot key keep all primaries busy
      Given an isolated cluster of 3 primaries with 1 replica each
      And 300 values of 100 bytes
      Then each way cost
        | WAY                        | KEY READS   | SHARE OF THE BUSIEST NODE |
        | GET of one hot key         | exactly 300 | exactly 100 %             |
        | GET of copies of a hot key | exactly 300 | at most 60 %              |
