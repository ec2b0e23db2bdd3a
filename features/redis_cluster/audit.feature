@audit
Feature: The cluster has the settings and the replicas to survive a failure
  The settings of a failover matter on the day a machine dies, and are rarely read before. A cluster with a slow failure
  detector, without replicas or without a majority then rejects writes until an operator comes.
  `practices.toml` changes a bound.

  @core
  Rule: A failover replaces a dead primary in time

    @cluster-001
    Scenario: the node timeout is long enough for a busy machine and short enough for a failover
      Writes to the slots of a dead primary fail for up to twice the node timeout and two seconds. Below 200
      milliseconds a busy machine looks dead.

      Given the cluster under test
      Then the setting "cluster-node-timeout" is between 200 and 15000

    @cluster-002
    Scenario: replicas with recent data may take over
      Given the cluster under test
      Then the setting "cluster-replica-no-failover" is one of "no"
      And the setting "cluster-replica-validity-factor" is between 1 and 100

    @cluster-003
    Scenario: every primary has a linked and live replica
      A replica without a complete first copy looks healthy in `CLUSTER NODES`, and cannot take over. An idle primary sends
      a PING each `repl-ping-replica-period`, so silence is counted in these pings.

      Given the cluster under test
      Then there are no failed nodes
      And every primary has at least 1 live replica
      And there are no unlinked replicas
      And the cluster has at most 2 missed pings

    @cluster-004
    Scenario: the cluster has a majority to vote after one failure
      Of two primaries one is no majority: when the other one dies, no failover starts.

      Given the cluster under test
      Then the cluster has at least 3 primaries

    @cluster-005
    Scenario: every node has a memory limit, and its machine has that memory
      Without a limit the kernel kills the node that fills its machine. Its replica has the same data, and dies next.

      Given the cluster under test
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @cluster-006
    Scenario: the minority side of a split brain refuses reads once it is down
      A node counts as down when it has missed the majority for a node timeout. Until then it may serve stale reads.

      Given the cluster under test
      Then the setting "cluster-allow-reads-when-down" is one of "no"

  Rule: A replica is accepted again after an interruption

    @cluster-091
    Scenario: no node would be refused when it copies from another node of its shard
      A password that was changed on the primaries alone leaves the links up. The next restart or failover then leaves a
      shard without a replica.
      Remedy: CONFIG SET masterauth (and masteruser) on every node to a user and password that every node accepts, then
      CONFIG REWRITE.

      Given the cluster under test
      Then there are no refused replicas

  @core
  Rule: Slots are settled and evenly spread

    @cluster-007
    Scenario: the cluster has no open slot
      An interrupted resharding leaves a slot open, which answers ASK for some of its keys until it is repaired.

      Given the cluster under test
      Then there are no open slots

    @cluster-008
    Scenario: the primaries share the slots evenly
      Given the cluster under test
      Then the cluster has at most 25 % slot imbalance

  @core
  Rule: All nodes run the same software

    @cluster-009
    Scenario: all nodes of the cluster run the same version
      Given the cluster under test
      Then there are no version differences

  Rule: All primaries have the same functions

    @cluster-092
    Scenario: each library of functions is on all primaries in one version
      A cluster passes no function on to another shard, so FCALL fails for the keys of a primary without it.
      Remedy: FUNCTION LOAD REPLACE with this library on every primary.

      Given the cluster under test
      Then there are no function differences

  Rule: A node has room for its keys, and its disk takes them

    @cluster-093
    Scenario: no node that evicts nothing is nearly full
      One full primary refuses the writes of its slots alone, so an average over the cluster hides it.
      Remedy: raise maxmemory of this node, delete its biggest keys, or move slots (`redis-cli --cluster rebalance`).

      Given the cluster under test
      Then the cluster has at most 80 % memory in use

    @cluster-094
    Scenario: every node can write its append-only file and its snapshots
      Remedy: read the error in the node's log, free its disk or mend the folder's rights, run BGREWRITEAOF and BGSAVE.

      Given the cluster under test
      Then the field "aof_last_write_status" is one of "ok"
      And the field "aof_last_bgrewrite_status" is one of "ok"
      And the field "rdb_last_bgsave_status" is one of "ok"

  Rule: A replica resumes after a short interruption

    @cluster-010
    Scenario: the replication backlog holds the writes of a short interruption
      Without it each interruption costs a full copy of the data set.

      Given the cluster under test
      Then the setting "repl-backlog-size" is at least 1000000
      And the clients of class "replica" have bounded output buffers

  Rule: The cluster has room for every client

    @cluster-011
    Scenario: every node has connections left, and has refused none
      Given the cluster under test
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"
      And the field "rejected_connections" is exactly 0

  Rule: The cluster runs a version with security fixes

    @cluster-012
    Scenario: the version of the cluster still gets security fixes
      Remedy: upgrade to the version in the failure, or name a mended package in practices.toml (docs/acceptance.md).

      Given the cluster under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
