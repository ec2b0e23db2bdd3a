Feature: A measurement claims no more than its spread allows
  On a shared machine one run says "twice as fast" and the next "half as fast". A team that tunes by such numbers makes
  its system slower. So each ratio comes with its spread, and a spread that hides the answer is called "too noisy".

  Rule: A comparison shows no gain where there is none

    @tuning-042 @disruptive
    Scenario: a comparison of a way with itself shows no gain above twofold
      Given an isolated server
      And 100 values of 100 bytes
      Then the comparison shows
        | NAIVE             | TUNED             | TIMES FASTER      | ROUNDS |
        | GET one at a time | GET one at a time | between 0.5 and 2 | 15     |

  Rule: Practices that depend on the machine are reported without a bound

    @tuning-022 @slow
    Scenario: the gain of deeper pipelines is reported
      From 10 commands on, Python's packing and parsing is the limit. From 100 on, depth gains little, and memory grows on
      both sides.

      Given the cache under test
      And 1000 values of 100 bytes
      Then the comparison shows
        | NAIVE                   | TUNED                    | TIMES FASTER |
        | GET in pipelines of 10  | GET in pipelines of 100  | reported     |
        | GET in pipelines of 100 | GET in pipelines of 1000 | reported     |
        | GET in pipelines of 100 | MGET of 100              | reported     |

    @tuning-023 @slow
    Scenario: the gain of asyncio on the loopback, where a round trip is shorter than its overhead, is reported
      Given the cache under test
      And 200 values of 100 bytes
      Then the comparison shows
        | NAIVE             | TUNED               | TIMES FASTER |
        | GET one at a time | asyncio, 20 at once | reported     |

    @tuning-024 @slow
    Scenario: the gain of one hash tag for a whole cluster pipeline is reported
      It saves no round trip, as redis-py writes to all nodes before it reads. It saves the client the writes and reads of
      two nodes, and one node does the work of three.

      Given the cluster under test
      And 300 values of 100 bytes
      Then the comparison shows
        | NAIVE                       | TUNED                                     | TIMES FASTER |
        | redis-py's cluster pipeline | redis-py's cluster pipeline, one hash tag | reported     |

  Rule: A setting is measured on the machine it is for
    The data folder of an embedded server is in memory where the system has /dev/shm: `always` costs far more on a disk.
    Threads for input and output spin while they wait, so they need idle processors.

    @tuning-025 @disruptive @slow
    Scenario: the price of an append-only file is reported for each appendfsync
      Then the comparison shows
        | NAIVE                   | TUNED                        | TIMES FASTER |
        | writes, nothing on disk | writes, appendfsync no       | reported     |
        | writes, nothing on disk | writes, appendfsync everysec | reported     |
        | writes, nothing on disk | writes, appendfsync always   | reported     |

    @tuning-026 @disruptive
    Scenario: the gain of io-threads and of unix sockets is reported
      Then the comparison shows
        | NAIVE               | TUNED                    | TIMES FASTER |
        | reads, io-threads 1 | reads, io-threads 2      | reported     |
        | reads over TCP      | reads over a unix socket | reported     |
