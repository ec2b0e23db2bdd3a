Feature: A network partition leaves each slot with one primary
  In a split brain both sides take the other one for dead. If both continued to accept writes, the writes of one side
  would be thrown away when the network heals. In Redis Cluster only the side with the majority of the primaries continues.

  Rule: The minority side stops, and only the majority side accepts writes
    With a node timeout of half a second on an idle machine, Redis 7.0 replaced a killed primary after 2 seconds. An
    isolated primary was replaced after up to 2.9 seconds, so a write has one more second here.

    The partition cuts the cluster bus. Replication stays connected, so the replica still gets what the isolated primary
    acknowledges before its node timeout is over. A partition that cuts replication too loses these writes.
    `WAIT` and `min-replicas-to-write` reveal them: see durability.feature.

    @cluster-057 @core @disruptive
    Scenario: an isolated primary stops, is replaced, and becomes a replica when the network heals
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING | VALUE              |
        | network | can be partitioned |
      And the cluster holds "Ann" as "user:1"
      And a workload of 2 writers and 1 reader
      When the primary of "user:1" is isolated from all other nodes
      Then that primary replies within 2 node timeouts and 1 second
        | COMMANDS       | REPLY       |
        | PERSIST user:1 | CLUSTERDOWN |
      And a write to "user:1" is accepted within 2 node timeouts and 3 seconds
      And that primary replies
        | COMMANDS   | REPLY       |
        | GET user:1 | CLUSTERDOWN |
      When that primary is reconnected
      Then that primary replicates the owner of "user:1" within 5 seconds
      And a client reads "Ann" from "user:1"
      And the workload measured
        | MEASUREMENT         | BOUND        |
        | writes acknowledged | at least 100 |
        | writes lost         | exactly 0    |

    @cluster-058 @disruptive @waits
    Scenario: an isolated primary serves stale reads if cluster-allow-reads-when-down lets it
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING | VALUE              |
        | network | can be partitioned |
      And the cluster holds "Ann" as "user:1"
      When the setting "cluster-allow-reads-when-down" of every node becomes "yes"
      And the primary of "user:1" is isolated from all other nodes
      Then that primary replies within 2 node timeouts and 1 second
        | COMMANDS       | REPLY       |
        | PERSIST user:1 | CLUSTERDOWN |
      And a write to "user:1" is accepted within 2 node timeouts and 3 seconds
      And that primary replies
        | COMMANDS   | REPLY |
        | GET user:1 | Ann   |
