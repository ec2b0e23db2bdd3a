Feature: What is often recommended and seldom matters
  These are measured on the machine at hand and claim nothing: they depend on it too much, or the gain is a myth. The
  report shows ratio and spread; a spread that hides the answer is said as "too noisy".

  Rule: A number is shown, and the reader concludes

    Scenario: deeper pipelines, single commands, asynchronous reads on the loopback
      Given 1000 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE                   | TUNED                    | TIMES FASTER | ROUNDS |
        | GET by pipelines of 10  | GET by pipelines of 100  | reported     | 7      |
        | GET by pipelines of 100 | GET by pipelines of 1000 | reported     | 7      |
        | GET by pipelines of 100 | MGET of 100              | reported     | 7      |
        | GET one at a time       | asyncio, 20 tasks        | reported     | 7      |

    Scenario: a hash tag for all keys of a cluster's pipeline
      Given 100 values of 100 bytes in the cluster
      Then these ways to use the cluster pay
        | NAIVE                 | TUNED                        | TIMES FASTER |
        | the client's pipeline | the client's pipeline, a tag | reported     |

  Rule: Writing to disk has a price that the disk decides

    @disruptive
    # The folder of an embedded server is in memory where the system has that: `always` costs far more on a disk.
    Scenario: the price of an append-only file
      Then writing costs so much with these settings
        | SETTINGS                           |
        | appendonly no                      |
        | appendonly yes, appendfsync no     |
        | appendonly yes, appendfsync everysec |
        | appendonly yes, appendfsync always |
