Feature: Slots migrate while clients are served
  Resharding moves slots under live traffic whenever a cluster grows or shrinks. Done by hand it may stop halfway: half a
  slot on each node, and clients between MOVED and ASK. Atomic slot migration (Valkey 9.0, Redis 8.4) moves all slots or
  none; key by key works everywhere.

  Rule: Slots migrate without an error and without a lost key
    From Valkey 8.0 on the replicas hear of each `CLUSTER SETSLOT` first (valkey#445), so a failover during a migration
    leaves no slot without an owner. This costs time: key by key, slots take several times as long as on Redis.

    @cluster-072 @core @disruptive
    Scenario: slots migrate key by key under load without an error
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And 2000 keys are written
      And a workload of 2 writers and 1 reader
      When 60 slots with that of "user:1" are migrated
        | OPTION | VALUE      |
        | method | key by key |
      Then those slots belong to their new primary
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |
      And every written key is readable

    @cluster-073 @disruptive
    Scenario: slots migrate atomically under load without an error
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And an engine with "atomic slot migration"
      And 2000 keys are written
      And a workload of 2 writers and 1 reader
      When 2000 slots with that of "user:1" are migrated
      Then those slots belong to their new primary
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |
      And every written key is readable

  Rule: A key keeps its value and its ttls when its slot migrates

    @cluster-080 @disruptive
    Scenario Outline: keys of all types keep value and ttl when their slots migrate <METHOD>
      A ttl continues to run while its key migrates, so it is shorter by the time of the migration.

      Given an isolated cluster of 3 primaries with 1 replica each
      And these keys
        | KEY             | TYPE        | VALUE | TTL  |
        | {user}:string   | string      | text  | 1000 |
        | {user}:hash     | hash        | a b   | 1000 |
        | {user}:list     | list        | a b   | 1000 |
        | {user}:set      | set         | 1 2   | 1000 |
        | {user}:zset     | sorted set  | a b   | 1000 |
        | {user}:stream   | stream      | a     | 1000 |
        | {user}:visitors | hyperloglog | a b   | 1000 |
      When 20 slots with that of "{user}" are migrated
        | OPTION | VALUE    |
        | method | <METHOD> |
      Then those slots belong to their new primary
      And exactly 0 keys were changed
      And the measurement "largest change of a ttl" is within 10 seconds

      Examples:
        | METHOD     |
        | key by key |
        | by default |

    @cluster-081 @disruptive
    Scenario Outline: a hash field keeps its ttl when its slot migrates <METHOD>
      Given an isolated cluster of 3 primaries with 1 replica each
      And an engine with "HPEXPIRE"
      And these keys
        | KEY         | TYPE | VALUE | TTL  | FIELD |
        | {user}:hash | hash | a b   | 1000 | a     |
      When 20 slots with that of "{user}" are migrated
        | OPTION | VALUE    |
        | method | <METHOD> |
      Then those slots belong to their new primary
      And exactly 0 keys were changed
      And the measurement "largest change of a ttl" is within 10 seconds

      Examples:
        | METHOD     |
        | key by key |
        | by default |

  Rule: An operator watches slots and keys arrive during a resharding
    A dashboard shows a stuck migration a minute late. `cluster_example.py --watch` prints a line for each look.

    @cluster-090 @disruptive
    Scenario: cluster_example.py --watch shows migrated slots at their new primary, and no primary missing
      Given an isolated cluster of 3 primaries with 1 replica each
      And "exec python src/cluster_example.py --watch --interval 0.2 --keys 200" is running
        | OPTION       | VALUE       |
        | first output | slots/keys: |
      When 1000 slots with that of "watched" are migrated
      Then the command has exactly 1000 moved slots within 5 seconds
      When the command gets Ctrl-C
      Then the command exits with 0
      And the command has exactly 0 incomplete lines
      And the command has exactly 0 keys left
