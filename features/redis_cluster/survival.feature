Feature: A cluster without a replica that can take over behaves as configured
  With every replica dead, or every node dead, settings decide which users are down and for how long, and these settings
  are rarely read before. A replica without data must not take over, or the data is gone.

  Rule: Full coverage: whether a lost shard stops the other shards is a choice

    @cluster-086 @disruptive @waits
    Scenario: a lost shard stops writes to all shards, or without full coverage only to its own slots
      Given an isolated cluster of 3 primaries without replicas
      When the primary of "user:1" is killed
      Then every primary other than that of "user:1" has exactly 0 writable keys within 2 node timeouts and 2 seconds
      When the setting "cluster-require-full-coverage" of every remaining node becomes "no"
      Then every primary other than that of "user:1" has exactly 1 writable key within 2 node timeouts and 5 seconds
      And no write to "user:1" is accepted for 1 node timeout

  Rule: A replica without data does not take over

    @cluster-087 @disruptive @known_limit @waits
    Scenario: a replica without its first copy looks healthy and does not replace its primary
      Every node says that the cluster is ok until the primary dies.

      Given an isolated cluster of 3 primaries without replicas
      And an empty node
      When the new node is added
        | OPTION     | VALUE   |
        | replica of | user:1  |
        | first copy | refused |
      Then there are no unhealthy nodes
      When the primary of "user:1" is killed
      Then no write to "user:1" is accepted for 2 node timeouts and 2 seconds

  Rule: A primary that restarts before its replica takes over gives the replica what its own disk holds
    The replica copies its primary, an empty one too (valkey#579). No setting of the server prevents that.

    @cluster-160 @disruptive @known_limit
    Scenario Outline: a primary that is killed and restarted at once <RESULT>
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE  |
        | appendonly           | <LOG>  |
        | appendfsync          | always |
        | cluster-node-timeout | 5000   |
      When 500 keys "{user:1}" are written
      And the primary of "{user:1}" is killed
      And that primary is restarted
      Then the cluster is ready within 15 seconds
      And exactly <LOST> writes were lost

      Examples:
        | RESULT                                          | LOG | LOST |
        | loses the keys of its shard without a log       | no  | 500  |
        | keeps every acknowledged write with a log       | yes | 0    |

    @cluster-165 @disruptive
    Scenario: a primary without files that hands over to its replica before a restart loses no key
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | save                 |       |
        | cluster-node-timeout | 5000  |
      Then the primaries without files include "keeps no files"
      When 500 keys "{user:1}" are written
      And the primary of "{user:1}" is restarted after a failover
      Then exactly 0 writes were lost

  Rule: Replica migration: a primary without replicas gets the spare replica of another primary

    @cluster-088 @disruptive @waits
    Scenario: a spare replica moves to the primary that has lost its replica
      The server waits for 5 seconds before it does that.

      Given an isolated cluster of 3 primaries with 1 replica each
      And an empty node
      When the new node is added
        | OPTION     | VALUE  |
        | replica of | user:1 |
      And a replica of a primary other than that of "user:1" is killed
      Then that primary has exactly 1 linked replica within 10 seconds

  Rule: A cluster that went down as a whole comes back with its keys and its slot map

    @cluster-089 @disruptive
    Scenario: all nodes are killed and restarted with every acknowledged key
      With the usual `appendfsync everysec` a write may be acknowledged up to 2 seconds before it leaves the process. A
      restarted primary waits for 2 seconds before it serves. The node timeout is longer than the restart, so no
      failover begins meanwhile. A replica is listed after a ping, at most half a node timeout later.

      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE  |
        | appendonly           | yes    |
        | appendfsync          | always |
        | cluster-node-timeout | 5000   |
      And 300 keys are written
      When every node is killed
      And every node is restarted
      Then the cluster is ready within 15 seconds
      And the cluster has exactly 0 slots on other nodes
      And every written key is readable
