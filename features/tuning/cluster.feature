Feature: The nodes of a cluster share the work
  Three nodes are three times one only if keys, reads and round trips are spread over them. A client that asks for key
  after key waits for one node at a time; one hot key or one hash tag for everything makes one node do it all.

  Rule: What is read together lies together

    @tuning-001 @disruptive
    Scenario: a hash tag makes one call of many
      Keys share a call only where they share a slot. Fifty numbered keys lie in 50 slots after 255 of 256 prefixes;
      after any other they still lie in 40 or more, which was computed for all 65,536 states of CRC16.

      Given a cluster of its own with a replica for each of its 3 primaries
      And 50 values of 100 bytes in the cluster
      Then the nodes count for these ways
        | WAY                            | CALLS       |
        | GET key after key              | exactly 50  |
        | MGET of keys apart             | at least 40 |
        | MGET of keys with one hash tag | exactly 1   |

  Rule: Each node gets its keys in one piece, and all work at the same time

    @tuning-002
    Scenario: one pipeline a node beats key after key, and the client's own pipeline too
      Both pipelines wait for the same nodes, side by side. What differs is the work of the client, which is the limit
      of nearly every program in Python, so that is what is held against a bound.

      Given 300 values of 100 bytes in the cluster
      Then these ways to use the cluster pay
        | NAIVE                 | TUNED                 | TIMES FASTER | LESS PROCESSOR TIME |
        | GET key after key     | the client's pipeline | reported     | at least 1.5        |
        | the client's pipeline | one pipeline a node   | reported     | at least 2.5        |

    @tuning-003
    Scenario: answers come in order, and an error stays with its command
      When one pipeline a node writes and reads 300 keys and increments a text in between
      Then the answers are in the order of the commands
      And the increment of a text failed, and nothing else

    @tuning-004
    Scenario: keys that have moved are found where they went
      Given 300 values of 100 bytes in the cluster
      When the client believes that one primary owns all slots
      Then one pipeline a node still reads all of them

  Rule: Replicas take reads from their primaries, if the client lets them

    @tuning-005 @disruptive
    Scenario: who answers is the client's choice
      Given a cluster of its own with a replica for each of its 3 primaries
      And 300 values of 100 bytes in the cluster
      Then the nodes count for these ways
        | WAY                | CALLS       | ON REPLICAS          |
        | GET key after key  | exactly 300 | exactly 0 %          |
        | GET from all nodes | exactly 300 | between 40 and 60 %  |
        | GET from replicas  | exactly 300 | exactly 100 %        |

  Rule: A hot key is spread

    @tuning-006 @disruptive
    Scenario: copies of a hot key keep all primaries busy
      Given a cluster of its own with a replica for each of its 3 primaries
      And 300 values of 100 bytes in the cluster
      Then the nodes count for these ways
        | WAY                       | CALLS       | BUSIEST NODE  |
        | GET of one hot key        | exactly 300 | exactly 100 % |
        | GET of a hot key's copies | exactly 300 | at most 60 %  |
