Feature: A pipeline or one command for many keys saves round trips
  A server replies in microseconds, a network in milliseconds. A client that waits for each reply spends nearly all of its
  time on latency, and its users wait with it. Pipelining, MGET, MSET and scripts do the same work in fewer round trips.

  Rule: Commands that do not need each other's replies share a round trip

    @tuning-027
    Scenario: a server reads a pipeline in a few pieces, however many commands it holds
      Given an isolated server
      And 1000 values of 100 bytes
      Then each way cost
        | WAY                      | COMMANDS     | SOCKET READS |
        | GET one at a time        | exactly 1000 | exactly 1000 |
        | GET in pipelines of 1    | exactly 1000 | exactly 1000 |
        | GET in pipelines of 10   | exactly 1000 | at most 100  |
        | GET in pipelines of 100  | exactly 1000 | at most 20   |
        | GET in pipelines of 1000 | exactly 1000 | at most 10   |

    @tuning-028
    Scenario: over a network, a pipeline or MGET is 15 times as fast as single reads
      Given the cache under test
      And 50 values of 100 bytes
      And a round trip of 1.5 milliseconds
      Then the comparison shows
        | NAIVE             | TUNED                  | TIMES FASTER | ROUNDS |
        | GET one at a time | GET in pipelines of 50 | at least 15  | 5      |
        | GET one at a time | MGET of 50             | at least 15  | 5      |

    @tuning-029
    Scenario: on the loopback, a pipeline, MGET or MSET saves most of the time as well
      Given the cache under test
      And 200 values of 100 bytes
      Then the comparison shows
        | NAIVE             | TUNED                   | TIMES FASTER | ROUNDS |
        | GET one at a time | GET in pipelines of 100 | at least 2.5 | 9      |
        | GET one at a time | MGET of 100             | at least 6   | 9      |
        | SET one at a time | MSET of 100             | at least 6   | 9      |

    @tuning-030
    Scenario: a packed pipeline costs the client less processor time than redis-py's pipeline
      Both take one round trip and wait for the same server. The difference is the client's own work.

      Given the cache under test
      And 1000 values of 100 bytes
      Then the comparison shows
        | NAIVE                   | TUNED                          | TIMES FASTER | TIMES LESS PROCESSOR TIME |
        | GET in pipelines of 100 | GET in packed pipelines of 100 | reported     | at least 1.5              |

  Rule: One command for many keys is better still

    @tuning-031
    Scenario: MGET and MSET are one command for 100 keys
      Given an isolated server
      And 1000 values of 100 bytes
      Then each way cost
        | WAY               | COMMANDS     | SOCKET READS |
        | MGET of 100       | exactly 10   | exactly 10   |
        | SET one at a time | exactly 1000 | exactly 1000 |
        | MSET of 100       | exactly 10   | exactly 10   |

    @tuning-043
    Scenario: MSETEX is one command for 100 keys with a ttl
      MSET sets no ttl, and EXPIRE has no form for several keys.

      Given an isolated server
      And an engine with "MSETEX"
      And 1000 values of 100 bytes
      Then each way cost
        | WAY           | COMMANDS   | SOCKET READS |
        | MSETEX of 100 | exactly 10 | exactly 10   |

  Rule: One command replaces several that belong together
    Two commands leave a gap: a client that dies between SET and EXPIRE leaves a key that lives for ever.

    @tuning-032
    Scenario: SET with EX takes half the commands of SET, then EXPIRE
      Given an isolated server
      And 100 values of 100 bytes
      Then each way cost
        | WAY              | COMMANDS    | SOCKET READS |
        | SET, then EXPIRE | exactly 200 | exactly 200  |
        | SET with EX      | exactly 100 | exactly 100  |

    @tuning-044
    Scenario: HSETEX takes half the commands of HSET, then HPEXPIRE
      Given an isolated server
      And an engine with "HSETEX"
      And 100 values of 100 bytes
      Then each way cost
        | WAY                 | COMMANDS    | SOCKET READS |
        | HSET, then HPEXPIRE | exactly 200 | exactly 200  |
        | HSETEX with EX      | exactly 100 | exactly 100  |

    @tuning-033
    Scenario: a script takes 1 round trip where an optimistic transaction takes 3
      Given an isolated server
      And 100 values of 2 bytes
      Then each way cost
        | WAY             | COMMANDS     | SOCKET READS |
        | WATCH, GET, SET | at least 500 | exactly 300  |
        | a script        | at most 300  | exactly 100  |

    @tuning-034
    Scenario: a function takes 1 round trip like a script, and the server keeps its code
      Given an isolated server
      And an engine with "FCALL"
      And 100 values of 2 bytes
      Then each way cost
        | WAY        | COMMANDS    | SOCKET READS |
        | a function | at most 300 | exactly 100  |

    @tuning-035
    Scenario: HGET of one field sends a tenth of the bytes of a whole document
      Given an isolated server
      And 100 values of 100 bytes
      Then each way cost
        | WAY                     | COMMANDS    | BYTES SENT      |
        | GET of a whole document | exactly 100 | at least 400000 |
        | HGET of one field       | exactly 100 | at most 40000   |
