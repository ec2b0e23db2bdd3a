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
      Remedy: `CONFIG SET cluster-node-timeout 15000` on every node.

      Given the cluster under test
      Then the setting "cluster-node-timeout" is between 200 and 15000

    @cluster-002
    Scenario: replicas with recent data may take over
      Remedy: `CONFIG SET cluster-replica-no-failover no` and `CONFIG SET cluster-replica-validity-factor 10` on every
      node.

      Given the cluster under test
      Then the setting "cluster-replica-no-failover" is one of "no"
      And the setting "cluster-replica-validity-factor" is between 1 and 100

    @cluster-003
    Scenario: every primary has a linked and live replica
      A replica without a complete first copy looks healthy in `CLUSTER NODES`, and cannot take over. An idle primary sends
      a PING each `repl-ping-replica-period`, so silence is counted in these pings.
      Remedy: restart a failed node; make an empty node a replica by `CLUSTER REPLICATE <node>`. The log of an unlinked
      replica names the refusal; `ACL SETUSER <user> +psync +sync` and `CONFIG SET masterauth <password>` end it.

      Given the cluster under test
      Then there are no failed nodes
      And every primary has at least 1 live replica
      And there are no unlinked replicas
      And the cluster has at most 2 missed pings

    @cluster-004
    Scenario: the cluster has a majority to vote after one failure
      Of two primaries one is no majority: when the other one dies, no failover starts.
      Remedy: add primaries until there are three: `redis-cli --cluster add-node`, then `redis-cli --cluster rebalance`.

      Given the cluster under test
      Then the cluster has at least 3 primaries

    @cluster-005
    Scenario: every node has a memory limit, and its machine has that memory
      Without a limit the kernel kills the node that fills its machine. Its replica has the same data, and dies next.
      Remedy: `CONFIG SET maxmemory <bytes>` on every node, with at most 80 % of its machine's memory.

      Given the cluster under test
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @cluster-006
    Scenario: the minority side of a split brain refuses reads once it is down
      A node counts as down when it has missed the majority for a node timeout. Until then it may serve stale reads.
      Remedy: `CONFIG SET cluster-allow-reads-when-down no` on every node.

      Given the cluster under test
      Then the setting "cluster-allow-reads-when-down" is one of "no"

  Rule: A replica is accepted again after an interruption

    @cluster-091
    Scenario: no node would be refused when it copies from another node of its shard
      A password that was changed on the primaries alone leaves the links up. The next restart or failover then leaves a
      shard without a replica.
      Remedy: `CONFIG SET masterauth <password>` and `CONFIG SET masteruser <user>` on every node, with a user and
      password that every node accepts; then `CONFIG REWRITE`.

      Given the cluster under test
      Then there are no refused replicas

  @core
  Rule: The application is accepted by each node after a failover

    @cluster-141
    Scenario: every node accepts the user of the application
      A cluster passes no user on. A user that was created on the primaries alone cannot log in where a replica takes
      over (redis#10263).
      Remedy: `ACL SETUSER <user> <rules>` on every node, replicas included, with the rules of a primary; then `ACL SAVE`.

      Given the cluster under test
      Then there are no refused logins

  @core
  Rule: Slots are settled and evenly spread

    @cluster-007
    Scenario: the cluster has no open slot
      An interrupted resharding leaves a slot open, which answers ASK for some of its keys until it is repaired. A replica
      that was away at the end of a migration keeps the slot open alone, until a failover (valkey#1664). A slot whose
      keys are moving now is no such slot.
      Remedy: end the migration with `redis-cli --cluster fix <host>:<port>`; if no key of the slot has moved,
      `CLUSTER SETSLOT <slot> STABLE` on both nodes. For a replica, on its primary.

      Given the cluster under test
      Then there are no open slots

    @cluster-008
    Scenario: the primaries share the slots evenly
      Remedy: `redis-cli --cluster rebalance <host>:<port>` moves slots until the shares are even.

      Given the cluster under test
      Then the cluster has at most 25 % slot imbalance

  Rule: A replica resumes after a short interruption

    @cluster-010
    Scenario: the replication backlog holds the writes of a short interruption
      Without it each interruption costs a full copy of the data set.
      Remedy: `CONFIG SET repl-backlog-size 64mb` and `CONFIG SET client-output-buffer-limit "replica 256mb 64mb 60"` on
      every node.

      Given the cluster under test
      Then the setting "repl-backlog-size" is at least 1000000
      And the clients of class "replica" have bounded output buffers

  Rule: The cluster has room for every client

    @cluster-011
    Scenario: every node has connections left, and has refused hardly any
      Remedy: `CONFIG SET maxclients 10000` on every node; then `CONFIG RESETSTAT` sets the counter of refused
      connections to 0.

      Given the cluster under test
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"
      And the field "rejected_connections" is at most 1 % of the field "total_connections_received"
