Feature: Messages travel as far as they have to
  A classic message goes to every node, which is what a big cluster chokes on. A sharded one stays
  with its channel's shard. A notification about a key stays at the key's node: who listens at one
  node alone misses most of them.

  Rule: A sharded channel belongs to one shard

    @cluster-046
    Scenario: subscribers at the owner and at a replica hear what is published
      Given a subscriber of the sharded channel "orders:1" at its owner and at each replica
      When "paid" is published to the sharded channel "orders:1"
      Then every subscriber hears "paid" within 5 seconds

    @cluster-047
    Scenario: a node of another shard sends subscribers and publishers on
      Given nodes as of Redis 7.0
      Then a primary that does not own "orders:1" answers
        | COMMANDS               | ANSWER |
        | SSUBSCRIBE orders:1    | MOVED  |
        | SPUBLISH orders:1 paid | MOVED  |

  Rule: Sharded messages spare the other shards

    @cluster-048 @disruptive
    Scenario: classic messages reach every node and sharded ones their shard alone
      Given a cluster of 3 primaries with 1 replica each
      When 100 sharded and 100 classic messages are published at the owner of "orders:1"
      Then the nodes received over the bus within 5 seconds
        | NODE                    | SHARDED | CLASSIC |
        | replica of the owner    | 100     | 100     |
        | primary of other shards | 0       | 100     |
        | replica of other shards | 0       | 100     |

  Rule: A notification about a key is heard at the key's node alone

    @cluster-049 @disruptive
    Scenario: a listener at each primary hears of that node's keys and of no others
      Given a cluster of 3 primaries with 1 replica each and these settings
        | SETTING                | VALUE |
        | notify-keyspace-events | KEA   |
      And a listener for written keys at every primary
      And 300 keys are written to the cluster
      Then each listener hears of exactly the keys of its own node within 5 seconds
