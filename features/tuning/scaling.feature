Feature: Shards divide the work of a server
  A server runs one command at a time, so a cluster divides what takes the server's time. An uneven share of slots, a
  slow command or a failover that a short pause triggers takes that gain away. Requests take an injected time here, so
  that three servers differ from one on a machine with two processors.

  Rule: Three primaries serve more than one if they share the slots

    @tuning-036 @disruptive
    Scenario: 3 primaries with even shares of slots are 1.5 times as fast as one, with uneven shares they are not
      A busy machine adds the same to a request of 20 milliseconds on both sides. Twenty keys fall unevenly on three nodes,
      so three times as fast is out of reach.

      Given an isolated cluster of 3 primaries without replicas
        | SETTING              | VALUE |
        | enable-debug-command | yes   |
      Then the comparison shows
        | NAIVE                   | TUNED                     | TIMES FASTER AT BEST | ROUNDS |
        | requests to one primary | requests to the owners    | at least 1.5         | 5      |
        | requests to one primary | requests to uneven owners | at most 1.5          | 5      |

    @tuning-037 @disruptive @slow
    Scenario: the throughput of 1, 3 and 6 primaries on one machine is reported
      Raw bytes make the servers the limit where processors are idle, redis-py makes the client the limit. The processor
      time of an operation hardly depends on the number of primaries: it tells what more machines would do.

      Then each way cost
        | WAY                 | READS A SECOND BY RAW BYTES | READS A SECOND BY REDIS-PY |
        | a cluster of size 1 | reported                    | reported                   |
        | a cluster of size 3 | reported                    | reported                   |
        | a cluster of size 6 | reported                    | reported                   |

  Rule: A busy shard delays its own clients only

    @tuning-038 @disruptive
    Scenario: a slow command on one shard leaves the other shards responsive
      Given an isolated cluster of 3 primaries without replicas
        | SETTING              | VALUE |
        | enable-debug-command | yes   |
      Then each way cost
        | WAY                      | REPLIES OF THE SLOWEST OTHER SHARD |
        | one primary busy for 1 s | at least 20                        |

  Rule: The replication backlog holds more than the writes of an interruption

    @tuning-039 @disruptive
    Scenario: a replica that missed 5 MB needs no full copy if the backlog is longer
      Then each way cost
        | WAY                    | FULL COPIES |
        | repl-backlog-size 16kb | exactly 1   |
        | repl-backlog-size 20mb | exactly 0   |

  Rule: The node timeout is longer than a pause that should cost no failover
    A short timeout replaces a dead primary sooner. It also replaces one that a slow disk or a long command paused.

    @tuning-040 @disruptive
    Scenario: a pause of 3 seconds costs a failover with a node timeout of 0.5 seconds, none with 10
      Given an isolated cluster of 3 primaries with 1 replica each
      Then each way cost
        | WAY                                 | FAILOVERS |
        | node timeout of 10 s, pause of 3 s  | exactly 0 |
        | node timeout of 0.5 s, pause of 3 s | exactly 1 |
