Feature: What holds for three primaries holds for forty-eight
  Each node and each client has its own copy of the map, and the bus carries it to all of them. What
  is right for three nodes by luck or by hand goes wrong, if it does, when there are many.

  Rule: At every size there is one map, and keys spread by it
    Nobody fails here, so the node timeout is longer than any of many nodes may have to wait for a busy processor.

    @cluster-085
    Scenario Outline: <PRIMARIES> primaries
      Given a cluster of <PRIMARIES> primaries without replicas, node timeout 5 seconds
      Then the map of every node gives exactly 16384 slots exactly one primary each
      And all nodes give the same map
        | COMMAND        |
        | CLUSTER SLOTS  |
        | CLUSTER SHARDS |
      And no primary's number of slots is more than 1 % off an even share
      Given 10000 random keys are written to the cluster
      Then by the chi-squared test their spread is chance, at a significance of 1e-9

      Examples:
        | PRIMARIES |
        | 3         |
        | 6         |
        | 12        |

      @slow
      Examples: those that take their time to start
        | PRIMARIES |
        | 48        |
