Feature: Latency is measured from the moment a request was due
  Users do not wait for each other. A load test that sends a request only after the last reply stops asking while the
  server is paused. This coordinated omission reports a fine 99th percentile, and customers find the pause first.

  Rule: An open loop counts every request that a pause delays

    @tuning-015 @disruptive
    Scenario: a closed loop sees a pause as few slow replies, an open loop as many (coordinated omission)
      Given an isolated server
      And 100 values of 100 bytes
      Then each way cost
        | WAY                                  | REPLIES OVER 0.1 S |
        | closed loop, server paused for 0.3 s | at most 5          |
        | open loop, server paused for 0.3 s   | at least 30        |

    @tuning-016
    Scenario: percentiles of latency by load are reported
      The tail shows the machine as much as the server, so this claims nothing.

      Given the cache under test
      And 100 values of 100 bytes
      Then each way cost
        | WAY                                | P50      | P99      | P99.9    |
        | open loop at 25 % of a closed one  | reported | reported | reported |
        | open loop at 50 % of a closed one  | reported | reported | reported |
        | open loop at 100 % of a closed one | reported | reported | reported |
        | open loop at 200 % of a closed one | reported | reported | reported |

  Rule: A compiled parser saves the client's processor time

    @tuning-017 @disruptive @slow
    Scenario: hiredis parses a list of 1000 items in a quarter of the processor time
      Given an isolated server
      Then the comparison shows
        | NAIVE                              | TUNED                    | TIMES LESS PROCESSOR TIME | ROUNDS |
        | lists of 1000 by redis-py's parser | lists of 1000 by hiredis | at least 4                | 7      |
        | lists of 1 by redis-py's parser    | lists of 1 by hiredis    | reported                  | 7      |
