Feature: A writer chooses which acknowledged writes a failover may lose
  Replication is asynchronous: a primary acknowledges a write before a replica has it, and a primary that dies takes such
  writes with it. The client that lost an order never hears of it. A writer that waits for a replica (`WAIT`), or a
  primary that refuses writes without one (`min-replicas-to-write`), turns silent data loss into an error.

  Rule: A write that no replica has is lost with its primary

    @cluster-019 @disruptive @known_limit
    Scenario: acknowledged writes are lost when the primary dies before its replica has them
      Given an isolated cluster of 3 primaries with 1 replica each
      When a replica of "{user:1}" is paused
      And the primary of "{user:1}" is isolated from its replicas
      And 500 keys "{user:1}" are written
      Then exactly 500 writes were acknowledged
      When that primary is killed
      And that replica is resumed
      Then a write to "{user:1}" is accepted within 2 node timeouts and 2 seconds
      And exactly 500 writes were lost

  Rule: WAIT tells a writer whether a replica has its writes

    @cluster-020 @disruptive
    Scenario: WAIT counts no write as acknowledged while the replica is away
      WAIT does not undo a write: the primary keeps it, and loses it only in a failover.

      Given an isolated cluster of 3 primaries with 1 replica each
      When a replica of "{user:1}" is paused
      And the primary of "{user:1}" is isolated from its replicas
      And 500 keys "{user:1}" are written
        | OPTION               | VALUE |
        | replicas to wait for | 1     |
      Then exactly 0 writes were acknowledged
      And the write failed with "WAIT"

    @cluster-021 @disruptive
    Scenario: no write that WAIT has acknowledged is lost in a failover under load
      The only replica has these writes. Among several replicas the election decides: see the last rule.

      Given an isolated cluster of 3 primaries with 1 replica each
      And a workload of 2 writers and 1 reader
        | OPTION               | VALUE |
        | replicas to wait for | 1     |
      When the primary of "user:1" is killed
      Then a write to "user:1" is accepted within 2 node timeouts and 2 seconds
      When that primary is restarted
      Then that primary replicates the owner of "user:1" within 5 seconds
      And the workload measured
        | MEASUREMENT         | BOUND        |
        | writes acknowledged | at least 100 |
        | writes lost         | exactly 0    |
        | stale reads         | exactly 0    |

  Rule: min-replicas-to-write makes a primary refuse writes that no replica would get

    @cluster-022 @disruptive
    Scenario: a primary with min-replicas-to-write refuses writes while its replica is away
      Given an isolated cluster of 3 primaries with 1 replica each
      When the setting "min-replicas-to-write" of every node becomes "1"
      And 100 keys "{user:1}" are written
      Then exactly 100 writes were acknowledged
      When a replica of "{user:1}" is paused
      And the primary of "{user:1}" is isolated from its replicas
      And 500 keys "{user:1}" are written
      Then exactly 0 writes were acknowledged
      And the write failed with "NOREPLICAS"

  Rule: The replica with the most data wins the election, if the node timeout is long enough
    A replica waits before it asks for votes, and waits longer if other replicas have more data. Valkey 9.1 makes this
    head start a fifteenth of the node timeout, but checks only every 100 ms. Below a node timeout of 3 seconds a replica
    that missed everything may win. Redis 7.0 gives a second for each rank with any node timeout. After half a
    node timeout all nodes have heard of the new primary, because each pings each other at least twice in it.

    @cluster-023 @disruptive @waits
    Scenario: a replica that missed writes loses the election to the replica that has them
      Given an isolated cluster of 3 primaries with 2 replicas each
        | SETTING              | VALUE |
        | cluster-node-timeout | 4000  |
      When a replica of "{user:1}" is paused
      And the primary of "{user:1}" is isolated from that replica
      And 500 keys "{user:1}" are written
        | OPTION               | VALUE |
        | replicas to wait for | 1     |
      Then exactly 500 writes were acknowledged
      When the primary of "{user:1}" is killed
      And that replica is resumed
      Then a write to "{user:1}" is accepted within 10 seconds
      And that replica replicates the owner of "{user:1}" within 12 seconds
      And exactly 0 writes were lost
