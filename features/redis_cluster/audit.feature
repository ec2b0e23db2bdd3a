@audit
Feature: The cluster is set up to survive
  Settings of a cluster matter on the day a machine dies, and nobody reads them on any other day.
  `practices.toml` changes a bound.

  @core
  Rule: A dead primary is replaced in time

    @cluster-001
    Scenario: a failure is noticed within the budget
      Twice the node timeout and two seconds is how long writes to a dead primary's slots fail. Below 200
      milliseconds a busy machine looks dead.

      Given the servers of the cluster
      Then the setting "cluster-node-timeout" is between 200 and 15000

    @cluster-002
    Scenario: replicas may take over
      Given the servers of the cluster
      Then the setting "cluster-replica-no-failover" is one of "no"
      And the setting "cluster-replica-validity-factor" is between 1 and 100

    @cluster-003
    Scenario: every primary has a replica that is linked and alive
      A replica that never finished its first copy looks healthy in `CLUSTER NODES`, and cannot take over. A primary
      with nothing to copy sends a PING each `repl-ping-replica-period`; one that comes late is no silence yet.

      Given the servers of the cluster
      Then no node is marked as failed
      And every primary has at least 1 live replica
      And every replica heard from its primary at most 10 seconds or 2 of its pings ago

    @cluster-004
    Scenario: one failure leaves a majority to vote
      Of two primaries one is no majority: when the other dies, nobody replaces it.

      Given the servers of the cluster
      Then there are at least 3 primaries

    @cluster-005
    Scenario: a memory limit is set, and the machine has that much
      Without one the machine runs out first, and the kernel ends the node; its replica has the same data, and ends next.

      Given the servers of the cluster
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @cluster-006
    Scenario: a minority serves no old values
      Given the servers of the cluster
      Then the setting "cluster-allow-reads-when-down" is one of "no"

  @core
  Rule: The slots lie where they should

    @cluster-007
    Scenario: no slot is on its way
      A slot that was left open answers ASK for some of its keys, for ever.

      Given the servers of the cluster
      Then no slot is being moved

    @cluster-008
    Scenario: no primary has much more than its share
      Given the servers of the cluster
      Then no primary's share of the slots is off an even one by more than 25 %

  @core
  Rule: Nodes are alike

    @cluster-009
    Scenario: one version
      Given the servers of the cluster
      Then all of them run the same version

  Rule: A replica that was away for a moment goes on where it was

    @cluster-010
    Scenario: the backlog holds what happens in a short interruption
      Without it each interruption costs a full copy of the data set.

      Given the servers of the cluster
      Then the setting "repl-backlog-size" is at least 1000000
      And the clients of class "replica" have bounded output buffers

  Rule: There is room for every client

    @cluster-011
    Scenario: connections are not refused
      Given the servers of the cluster
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"
      And the field "rejected_connections" is exactly 0

  Rule: The software is mended when a hole is found

    @cluster-012
    Scenario: the version still gets security fixes
      Redis itself mends 7.2 and later; Debian 12 mends its 7.0.15.

      Given the servers of the cluster
      Then their version still gets security fixes
        | ENGINE | OLDEST |
        | redis  | 7.0    |
        | valkey | 7.2    |
