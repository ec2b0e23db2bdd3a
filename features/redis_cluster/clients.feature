@audit
Feature: Every node of the cluster serves its clients steadily
  One node that stalls delays each request that reads keys of several nodes. An average over the cluster hides it.

  Rule: Answers of every node are in time all the time

    @cluster-100 @each_node @idle
    Scenario: no node stalls or answers now and then late
      Reads are sampled on every node while the other scenarios run. An answer is late if it comes 150 milliseconds later
      than most of this node.
      Remedy: SLOWLOG GET and LATENCY LATEST on this node name slow commands; else look at its processor, its swap
      space, its network.

      Given the cluster under test
      When the cluster serves 3 seconds of reads
      Then the measurements are
        | MEASUREMENT  | BOUND            |
        | late answers | at most 2 %      |
        | longest wait | within 2 seconds |

    @cluster-101
    Scenario: no command of the last 10 minutes has stalled a node again and again
      A node that stalls for longer than its node timeout is replaced, and its last writes may be lost.
      Remedy: SCAN in place of KEYS, smaller values, shorter scripts; then `SLOWLOG RESET`.

      Given the cluster under test
      Then there are no stalling commands

  Rule: A client keeps its connection, and a dead one is noticed

    @cluster-102
    Scenario: every node probes idle connections with TCP keepalive
      Without it, connections of dead clients stay until `maxclients` is reached.
      Remedy: `CONFIG SET tcp-keepalive 60` on this node.

      Given the cluster under test
      Then the setting "tcp-keepalive" is between 1 and 300

    @cluster-103
    Scenario: every node keeps idle connections for half a minute
      Pools keep connections to every node. A shorter timeout makes nearly every request connect again.
      Remedy: `CONFIG SET timeout 0` on this node, or 300.

      Given the cluster under test
      Then there are no short timeouts

  Rule: Buffers have a limit, and room for a large value

    @cluster-104
    Scenario: no node buffers without bound for a slow subscriber, or closes connections at a large value
      Remedy: on this node,
      `CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60 replica 256mb 64mb 60"`.

      Given the cluster under test
      Then the clients of class "pubsub" have bounded output buffers
      And there are no small buffers
