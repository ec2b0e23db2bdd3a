Feature: A migration that fails leaves no slot open
  A target without memory, a node that dies, a wrong node in the command line: migrations fail in production. A slot that
  stays open replies ASK for some of its keys, and later migrations of it are refused, until an operator repairs it.

  Rule: A failed migration leaves every slot with its owner

    @cluster-074 @disruptive
    Scenario Outline: a migration <METHOD> to a primary without memory fails and moves no slot
      Given an isolated cluster of 3 primaries with 1 replica each
      And 2000 keys are written
      When the setting "maxmemory" of a primary other than that of "user:1" becomes "1"
      And 600 slots with that of "user:1" are migrated
        | OPTION | VALUE    |
        | method | <METHOD> |
      Then the migration failed with "memory"
      And those slots belong to their old primary
      And every written key is readable

      Examples:
        | METHOD     |
        | key by key |
        | by default |

    @cluster-075 @disruptive
    Scenario Outline: an atomic migration of which one side is paused moves no slot when <EVENT>
      Given an isolated cluster of 3 primaries with 1 replica each
      And 2000 keys are written
      When 2000 slots with that of "user:1" are migrated
        | OPTION | VALUE    |
        | paused | one side |
      And <EVENT>
      Then those slots belong to their old primary

      Examples:
        | EVENT                                 |
        | the migration is cancelled            |
        | the target of the migration is killed |

  Rule: An impossible migration is refused before a slot moves, and the error says what to do

    @cluster-076 @disruptive
    Scenario Outline: a migration <CASE> is refused before a slot moves
      Given an isolated cluster of 3 primaries with 1 replica each
      And an empty node
      When 2 slots with that of "user:1" are migrated
        | OPTION | VALUE  |
        | from   | <FROM> |
        | to     | <TO>   |
      Then the migration failed with "<REASON>"
      And those slots belong to their old primary

      Examples:
        | CASE                           | FROM                                   | TO                    | REASON                            |
        | to a node of no cluster        | the owner of "user:1"                  | the new node          | let it join the cluster first     |
        | to a replica                   | the owner of "user:1"                  | a replica of "user:1" | name its primary as target        |
        | from a primary without the slot | a primary other than that of "user:1" | the owner of "user:1" | name the node that does as source |

    @cluster-077 @disruptive
    Scenario: a migration of an open slot is refused until the slot is repaired
      Given an isolated cluster of 3 primaries with 1 replica each
      And the cluster holds "here" as "{cart}:1"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      And 2 slots with that of "{cart}" are migrated
        | OPTION | VALUE      |
        | method | key by key |
      Then the migration failed with "slot_migration.close_open_slots repairs that"
      When the open slots are repaired
      Then there are no open slots
      And a client reads "here" from "{cart}:1"
      And a client reads "ahead" from "{cart}:2"

  Rule: An open slot is found and repaired, and no key is lost

    @cluster-078 @disruptive
    Scenario Outline: an open slot is repaired when <NODE> has forgotten its migration
      Given an isolated cluster of 3 primaries with 1 replica each
      And the cluster holds "here" as "{cart}:1"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      And <NODE> is made to forget the migration
      Then the open slots include "15997"
      When the open slots are repaired
      Then there are no open slots
      And a client reads "here" from "{cart}:1"
      And a client reads "ahead" from "{cart}:2"

      Examples:
        | NODE                     |
        | the owner of "{cart}:1"  |
        | their new primary        |

    @cluster-166 @disruptive
    Scenario: a replica that was away at the end of a migration keeps the slot open until it is repaired
      Valkey tells its replicas of open slots. The full copy of a replica that was away closes none (valkey#1664).

      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING           | VALUE |
        | repl-backlog-size | 16384 |
      And an engine with "Valkey 8.0"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      And a replica of "{cart}:1" is left behind
      And the primary of "{cart}:1" is isolated from that replica
      And their old primary is made to forget the migration
      And that replica is resumed
      Then the open slots include "unlike its primary"
      When the open slots are repaired
      Then there are no open slots

    @cluster-167 @disruptive
    Scenario: a node that starts with a snapshot from before a migration brings no old value back
      Valkey 8.1 deletes the keys of migrated slots when it has loaded them (valkey#539). Redis 8.2 keeps them, and opens
      their slots; a repair deletes them.

      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 5000  |
      And the cluster holds "old" as "{cart}:1"
      Then the owner of "{cart}:1" replies
        | COMMANDS | REPLY |
        | SAVE     | OK    |
      When 60 slots with that of "{cart}:1" are migrated
      And a client runs "SET {cart}:1 new"
      And their old primary is killed
      And their old primary is restarted
      Then the cluster is ready within 15 seconds
      And there are no unreachable keys
      And a client reads "new" from "{cart}:1"

    @cluster-079 @disruptive
    Scenario: a repaired slot keeps the newer value of a key that was written again at its owner
      Given an isolated cluster of 3 primaries with 1 replica each
      And the cluster holds "here" as "{cart}:1"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      And the owner of "{cart}:1" is made to forget the migration
      And a client runs "SET {cart}:2 newer"
      And the open slots are repaired
      Then there are no open slots
      And a client reads "here" from "{cart}:1"
      And a client reads "newer" from "{cart}:2"
