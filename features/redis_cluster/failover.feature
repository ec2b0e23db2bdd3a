Feature: A replica replaces a dead primary, and a planned failover causes no error
  A cluster proves its worth on the day a machine dies: users of some keys see errors for seconds. No operator acts. A
  failover that was never rehearsed may fail on that day. Patches and restarts need the planned failover, which users do
  not notice.

  Rule: Automatic failover: writes come back without an operator
    When the other primaries agree that a primary is dead, its replica waits 0.5 to 1 second before it asks for their
    votes. From Valkey 9.0 on it waits less where the node timeout is below 15 seconds (valkey#2449). Writes come back in
    half the time, see docs/compatibility.md.

    @cluster-024 @core @disruptive
    Scenario: a replica replaces a killed primary, which comes back as a replica
      Given an isolated cluster of 3 primaries with 1 replica each
      And 300 keys are written
      And a workload of 2 writers and 1 reader
      When the primary of "user:1" is killed
      Then a write to "user:1" is accepted within 2 node timeouts and 2 seconds
      And every written key is readable
      And the workload measured
        | MEASUREMENT         | BOUND                                  |
        | writes acknowledged | at least 100                           |
        | longest gap         | within 2 node timeouts and 2.5 seconds |
      When that primary is restarted
      Then that primary replicates the owner of "user:1" within 5 seconds
      And every written key is readable

    @cluster-025 @core @disruptive
    Scenario: a replica replaces a paused primary, which refuses stale writes after it is resumed
      Given an isolated cluster of 3 primaries with 1 replica each
      And the cluster holds "Ann" as "user:1"
      And 300 keys are written
      And a workload of 2 writers and 1 reader
      When the primary of "user:1" is paused
      Then a write to "user:1" is accepted within 2 node timeouts and 2 seconds
      And the workload measured
        | MEASUREMENT         | BOUND                                  |
        | writes acknowledged | at least 100                           |
        | longest gap         | within 2 node timeouts and 3.5 seconds |
      When that primary is resumed
      Then that primary replicates the owner of "user:1" within 5 seconds
      And that primary replies
        | COMMANDS         | REPLY |
        | GET user:1       | MOVED |
        | SET user:1 stale | MOVED |
      And a client reads "Ann" from "user:1"
      And every written key is readable

  Rule: Planned failover: no error, no lost write, no stale read
    The node timeout of 2 seconds is longer than any pause of a busy machine. With 0.5 seconds a node that waits for a
    processor looks dead, and the cluster is down although nothing has failed.

    @cluster-026 @core @disruptive
    Scenario: a promoted replica replaces its primary under load without an error
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And a workload of 2 writers and 1 reader
      When a replica of "user:1" is promoted
      Then that primary replicates the owner of "user:1" within 5 seconds
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |

    @cluster-027 @disruptive
    Scenario: a rolling restart with planned failovers causes no error under load
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And a workload of 2 writers and 1 reader
      When every node is restarted after a failover
      Then the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |

    @cluster-174 @disruptive @slow
    Scenario: an upgrade of every node under load causes no error and loses no write
      Replicas first: an older replica cannot load the copy of a newer primary, and empties itself (redis#4386). The older
      version is the nearest one that `python benchmarks/engines.py` has fetched.

      Given an isolated cluster of 3 primaries with 1 replica each of an older version
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And 300 keys are written
      And a workload of 2 writers and 1 reader
      When a replica of "user:1" is restarted after a failover
      Then the version differences include "127.0.0.1"
      When every node is restarted after a failover
      Then there are no version differences
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |
      And every written key is readable

    @cluster-028 @disruptive @waits
    Scenario: a failover that cannot succeed fails with its reason
      Given an isolated cluster of 3 primaries with 1 replica each
      When the primary of "user:1" is promoted
      Then the failover failed with "to a replica"
      When the primary of "user:1" is paused
      And that replica is promoted
        | OPTION        | VALUE    |
        | give up after | 1 second |
      Then the failover failed with "its primary"
