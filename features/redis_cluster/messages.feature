Feature: Sharded pub/sub: a sharded message stays in its shard, a classic one reaches every node
  A classic message goes to every node over the cluster bus, and this traffic is the scaling limit of pub/sub in a big
  cluster. A sharded message stays in its shard. A node sends keyspace notifications only to clients that subscribe at
  this node. A listener on one node misses those of all other nodes.

  Rule: A sharded channel belongs to one shard

    @cluster-046
    Scenario: subscribers on the owner and on its replicas receive every sharded message
      Given the cluster under test
      And a subscriber of the sharded channel "orders:1" on the owner of "orders:1"
      And a subscriber of the sharded channel "orders:1" on every replica of "orders:1"
      When 10 messages are published to the sharded channel "orders:1"
      Then exactly 0 messages were missed

    @cluster-047
    Scenario: a node of another shard redirects subscribers and publishers
      Given the cluster under test
      And an engine with "Redis 7.0"
      Then a primary other than that of "orders:1" replies
        | COMMANDS               | REPLY |
        | SSUBSCRIBE orders:1    | MOVED |
        | SPUBLISH orders:1 paid | MOVED |

  Rule: Sharded messages spare the nodes of other shards

    # The sharded messages are published first, so they are there when the classic ones are.
    @cluster-048 @disruptive
    Scenario: classic messages reach every node, sharded messages their shard alone
      Given an isolated cluster of 3 primaries with 1 replica each
      When 100 messages are published to the sharded channel "orders:1"
      And 100 messages are published to the classic channel "orders:1"
      Then the measurements are
        | NODE                      | MEASUREMENT      | BOUND       |
        | the replicas of the owner | classic messages | exactly 100 |
        | the nodes of other shards | classic messages | exactly 100 |
        | the replicas of the owner | sharded messages | exactly 100 |
        | the nodes of other shards | sharded messages | exactly 0   |

  Rule: A keyspace notification reaches no other shard than that of its key

    @cluster-049 @disruptive
    Scenario: a subscriber on each primary gets the notifications of that primary's keys and no others
      A replica that has the setting publishes the notifications of its keys too. Listen on one node of each shard.

      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING                | VALUE |
        | notify-keyspace-events | KEA   |
      And a subscriber of the keyspace channel "set" on every primary
      And 300 keys are written
      Then exactly 0 messages were missed
      And exactly 0 messages were misdirected
