Feature: Round trips are saved
  A server answers in microseconds, a network in milliseconds: nearly all the time of a slow client is waiting.
  Each way below does the same work; the server itself counts what it cost.

  Rule: Commands that do not need each other's answers travel together

    @tuning-027
    Scenario: a pipeline is read in a few pieces, however many commands it holds
      Given a server of its own
      And 1000 values of 100 bytes on it
      Then the server counts for these ways
        | WAY                      | COMMANDS     | READS         |
        | GET one at a time        | exactly 1000 | exactly 1000  |
        | GET by pipelines of 1    | exactly 1000 | exactly 1000  |
        | GET by pipelines of 10   | exactly 1000 | at most 100   |
        | GET by pipelines of 100  | exactly 1000 | at most 20    |
        | GET by pipelines of 1000 | exactly 1000 | at most 10    |

    @tuning-028
    Scenario: behind a network a pipeline or one command for many keys saves nearly all of the time
      Given 50 values of 100 bytes in the cache
      And the way there takes 1.5 milliseconds there and back
      Then these ways pay
        | NAIVE             | TUNED                  | TIMES FASTER | ROUNDS |
        | GET one at a time | GET by pipelines of 50 | at least 15  | 5      |
        | GET one at a time | MGET of 50             | at least 15  | 5      |

    @tuning-029
    Scenario: on this machine alone it saves most of the time
      Given 200 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE             | TUNED                   | TIMES FASTER | ROUNDS |
        | GET one at a time | GET by pipelines of 100 | at least 2.5 | 9      |
        | GET one at a time | MGET of 100             | at least 6   | 9      |
        | SET one at a time | MSET of 100             | at least 6   | 9      |

    @tuning-030
    Scenario: commands packed in one piece cost the client less than redis-py's pipeline
      Both are one trip and wait for the same server; what differs is the client's own work.

      Given 1000 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE                   | TUNED                   | TIMES FASTER | LESS PROCESSOR TIME |
        | GET by pipelines of 100 | packed pipelines of 100 | reported     | at least 1.5        |

  Rule: One command for many keys is better still

    @tuning-031
    Scenario: MGET and MSET are one command for a hundred keys
      Given a server of its own
      And 1000 values of 100 bytes on it
      Then the server counts for these ways
        | WAY               | COMMANDS     | READS        |
        | MGET of 100       | exactly 10   | exactly 10   |
        | SET one at a time | exactly 1000 | exactly 1000 |
        | MSET of 100       | exactly 10   | exactly 10   |

  Rule: What belongs together is one command

    @tuning-032
    Scenario: a ttl is given with the value
      Given a server of its own
      And 100 values of 100 bytes on it
      Then the server counts for these ways
        | WAY              | COMMANDS    | READS       |
        | SET, then EXPIRE | exactly 200 | exactly 200 |
        | SET with EX      | exactly 100 | exactly 100 |

    @tuning-033
    Scenario: a script updates in one trip what a transaction reads, computes and writes in three
      Given a server of its own
      And 100 values of 1 bytes on it
      Then the server counts for these ways
        | WAY             | COMMANDS     | READS        |
        | WATCH, GET, SET | at least 500 | exactly 300  |
        | a script        | at most 300  | exactly 100  |

    @tuning-034
    Scenario: a function does the same, and needs no client to bring it
      Given a server of its own
      And 100 values of 1 bytes on it
      Then the server counts for these ways
        | WAY        | COMMANDS    | READS       |
        | a function | at most 300 | exactly 100 |

    @tuning-035
    Scenario: what is not needed is not sent
      Given a server of its own
      And 100 values of 100 bytes on it
      Then the server counts for these ways
        | WAY                     | COMMANDS    | SENT             |
        | GET of a whole document | exactly 100 | at least 400000  |
        | HGET of one field       | exactly 100 | at most 40000    |
