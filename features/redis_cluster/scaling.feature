Feature: Slots move while clients are served
  Whoever grows or shrinks a cluster moves slots under live traffic. Done by hand it goes wrong in the middle:
  half a slot here, half there, and clients that are sent to and fro.

  Rule: Slots move without a lost key and without an error for anybody
    From Valkey 8.0 on the replicas hear of each `CLUSTER SETSLOT` first (valkey#445), so a failover in the middle
    leaves no slot without an owner. It is paid with time: key by key, slots take several times as long as on Redis.

    @cluster-072 @core @disruptive
    Scenario: slots move key by key, under load
      Given a cluster of 3 primaries with 1 replica each, node timeout 2 seconds
      And 2000 keys are written to the cluster
      And 60 slots with that of "user:1" among them
      And two writers and a reader of the cluster
      When they move live to another primary
      Then those slots are at the other primary, and none is open
      And they saw
        | SEEN                                 | BOUND            |
        | errors                               | exactly 0        |
        | keys that lost an acknowledged write | exactly 0        |
        | stale reads                          | exactly 0        |
        | longest gap                          | within 2 seconds |
      And all of them are readable

    @cluster-073 @disruptive
    Scenario: slots move at one stroke, under load
      Given a cluster of 3 primaries with 1 replica each, node timeout 2 seconds
      And servers that move slots at one stroke
      And 2000 keys are written to the cluster
      And 2000 slots with that of "user:1" among them
      And two writers and a reader of the cluster
      When they move at one stroke to another primary
      Then those slots are at the other primary, and none is open
      And they saw
        | SEEN                                 | BOUND            |
        | errors                               | exactly 0        |
        | keys that lost an acknowledged write | exactly 0        |
        | stale reads                          | exactly 0        |
        | longest gap                          | within 2 seconds |
      And all of them are readable

  Rule: A move that fails leaves every slot where it was

    @cluster-074 @disruptive
    Scenario Outline: <WAY> to a target without memory
      Given a cluster of 3 primaries with 1 replica each
      And 2000 keys are written to the cluster
      And 60 slots with that of "user:1" among them
      When they are to move <WAY> to a primary without memory
      Then that fails with "memory"
      And those slots are at their old primary, and none is open
      And all of them are readable

      Examples:
        | WAY        |
        | live       |
        | by default |

    @cluster-075 @disruptive
    Scenario Outline: at one stroke while one side hangs, and <END>
      Given a cluster of 3 primaries with 1 replica each
      And 2000 keys are written to the cluster
      And 2000 slots with that of "user:1" among them
      When they begin to move at one stroke while one side hangs, and <END>
      Then those slots are at their old primary, and none is open

      Examples:
        | END                   |
        | the move is cancelled |
        | the target is killed  |

  Rule: A move that cannot be is refused before anything moves, and the error says what to do

    @cluster-076 @disruptive
    Scenario: a move from or to the wrong node
      Given a cluster of 3 primaries with 1 replica each
      And 2 slots with that of "user:1" among them
      Then to move them is refused
        | HOW                                   | REASON                            |
        | to a node of no cluster               | let it join the cluster first     |
        | to a replica                          | name its primary as target        |
        | from a primary that does not own them | name the node that does as source |
      And those slots are at their old primary, and none is open

    @cluster-077 @disruptive
    Scenario: a move of a slot that was left open
      Given a cluster of 3 primaries with 1 replica each
      And the cluster holds "{cart}:1" as "here"
      And the cluster holds "{cart}:2" as "ahead"
      And 2 slots with that of "{cart}:1" among them
      When the slot of "{cart}" is on its way to another node and "{cart}:2" has gone ahead
      And they are to move live to another primary
      Then that fails with "slot_migration.close_open_slots repairs that"

  Rule: A slot that was left open is found and repaired

    @cluster-078 @disruptive
    Scenario Outline: <WHO> forgets that a slot is on its way
      Given a cluster of 3 primaries with 1 replica each
      And the cluster holds "{cart}:1" as "here"
      And the cluster holds "{cart}:2" as "ahead"
      When the slot of "{cart}" is on its way to another node and "{cart}:2" has gone ahead
      And <WHO> forgets that the slot of "{cart}" is on its way
      Then the slot of "{cart}" is named as open
      When open slots are repaired
      Then no slot is open
      And "{cart}:1" reads "here" through a client of the cluster
      And "{cart}:2" reads "ahead" through a client of the cluster

      Examples:
        | WHO          |
        | nobody       |
        | the owner    |
        | the new node |

    @cluster-079 @disruptive
    Scenario: a key that was written again at the owner keeps its new value
      Given a cluster of 3 primaries with 1 replica each
      And the cluster holds "{cart}:1" as "here"
      And the cluster holds "{cart}:2" as "ahead"
      When the slot of "{cart}" is on its way to another node and "{cart}:2" has gone ahead
      And the owner forgets that the slot of "{cart}" is on its way
      Given the cluster holds "{cart}:2" as "newer"
      When open slots are repaired
      Then no slot is open
      And "{cart}:1" reads "here" through a client of the cluster
      And "{cart}:2" reads "newer" through a client of the cluster

  Rule: What belongs to a key moves with it

    @cluster-080 @disruptive
    Scenario Outline: values of all types and their ttls move <WAY>
      A ttl runs on while its key moves: the change is the time of the move.

      Given a cluster of 3 primaries with 1 replica each
      And a key of each type in the slot of "user:1", each with a ttl
      And 20 slots with that of "user:1" among them
      When they move <WAY> to another primary
      Then those slots are at the other primary, and none is open
      And what they hold is as it was, and their ttl to 10 seconds

      Examples:
        | WAY        |
        | live       |
        | by default |

    @cluster-081 @disruptive
    Scenario Outline: a field's ttl moves <WAY>
      Given a cluster of 3 primaries with 1 replica each
      And a hash in the slot of "user:1" with a field that has a ttl
      And 20 slots with that of "user:1" among them
      When they move <WAY> to another primary
      Then those slots are at the other primary, and none is open
      And what they hold is as it was, and their ttl to 10 seconds

      Examples:
        | WAY        |
        | live       |
        | by default |
