Feature: What a cluster does when there is nobody to take over
  With every replica gone, with every node gone: what then happens is decided by settings that nobody looks at
  until then.

  Rule: Whether a lost shard stops the others is a choice

    @cluster-086 @disruptive @waits
    Scenario: a lost shard stops all writes, or its own alone
      Given a cluster of 3 primaries without replicas
      When the primary of "user:1" is killed
      Then the other primaries refuse writes within 2 node timeouts and 2 seconds
      When "cluster-require-full-coverage" is set to "no" at every node
      Then the other primaries accept writes within 2 node timeouts and 5 seconds
      And no write to "user:1" is accepted for 1 node timeout

  Rule: A replica that has no data does not take over

    @cluster-087 @disruptive @known_limit @waits
    Scenario: a replica that never finished its first copy looks well and replaces nobody
      The cluster says that all is well all the time until the primary dies.

      Given a cluster of 3 primaries without replicas
      And a replica of "user:1" that never got a copy of its data
      Then every node says of the cluster
        | FIELD                  | VALUE |
        | cluster_state          | ok    |
        | cluster_slots_assigned | 16384 |
      When the primary of "user:1" is killed
      Then no write to "user:1" is accepted for 2 node timeouts and 2 seconds

  Rule: A primary that lost its replica gets one that another primary can spare

    @cluster-088 @disruptive @waits
    Scenario: a spare replica moves to the primary that has none
      The server waits for 5 seconds before it does that.

      Given a cluster of 3 primaries with 1 replica each
      And an empty node
      When the empty node joins as a replica of "user:1"
      And a replica of another primary than that of "user:1" is killed
      Then that primary has a linked replica again within 10 seconds

  Rule: A cluster that went down as a whole comes back as it was

    @cluster-089 @disruptive
    Scenario: all nodes are killed at once
      With the usual `appendfsync everysec` a write may be acknowledged before it has left the process: it waits
      for up to 2 seconds while an earlier one is forced to disk. The node timeout is longer than the restart, so that
      nobody is replaced meanwhile. A primary that has restarted waits for 2 seconds before it answers, and a replica is
      listed when all have heard that it has caught up: by a ping, of which each node gets one from each other at least
      every half node timeout.

      Given a cluster of 3 primaries with 1 replica each and these settings
        | SETTING              | VALUE  |
        | appendonly           | yes    |
        | appendfsync          | always |
        | cluster-node-timeout | 5000   |
      And 300 keys are written to the cluster
      When every node is killed, and started again
      Then within 15 seconds the cluster is ready, with the map that it had
      And all of them are readable
