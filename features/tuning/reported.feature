Feature: What is often recommended and seldom matters
  These are measured on the machine at hand and claim nothing: they depend on it too much, or the gain is a myth. The
  report shows ratio and spread; a spread that hides the answer is said as "too noisy".

  Rule: A number is shown, and the reader concludes

    @tuning-022
    Scenario: deeper and deeper pipelines
      From ten commands on, Python's packing and parsing is what is left; from a hundred on, depth gains little and
      memory grows on both sides.

      Given 1000 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE                   | TUNED                    | TIMES FASTER | ROUNDS |
        | GET by pipelines of 10  | GET by pipelines of 100  | reported     | 5      |
        | GET by pipelines of 100 | GET by pipelines of 1000 | reported     | 5      |
        | GET by pipelines of 100 | MGET of 100              | reported     | 5      |

    @tuning-023
    Scenario: asynchronous single reads on the loopback
      A round trip of the loopback is shorter than what asyncio costs.

      Given 200 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE             | TUNED             | TIMES FASTER | ROUNDS |
        | GET one at a time | asyncio, 20 tasks | reported     | 5      |

    @tuning-024
    Scenario: a hash tag for all keys of a cluster's pipeline
      No round trip is saved, as all nodes are written to before one is read from. Two writes of three are, as are two
      reads; that shows in short pipelines alone, while one server does the work of three.

      Given 300 values of 100 bytes in the cluster
      Then these ways to use the cluster pay
        | NAIVE                 | TUNED                        | TIMES FASTER |
        | the client's pipeline | the client's pipeline, a tag | reported     |

  Rule: A setting is tried on the machine it is for
    The folder of an embedded server is in memory where the system has that: `always` costs far more on a disk. Threads
    for input and output spin while they wait, which pays with processors to spare alone.

    @tuning-025 @disruptive
    Scenario: the price of an append-only file
      Then these settings pay
        | NAIVE                   | TUNED                        | TIMES FASTER |
        | writes, nothing on disk | writes, appendfsync no       | reported     |
        | writes, nothing on disk | writes, appendfsync everysec | reported     |
        | writes, nothing on disk | writes, appendfsync always   | reported     |

    @tuning-026 @disruptive
    Scenario: threads for input and output, and unix sockets
      Then these settings pay
        | NAIVE             | TUNED                    | TIMES FASTER |
        | reads, one thread | reads, two io-threads    | reported     |
        | reads over TCP    | reads over a unix socket | reported     |
