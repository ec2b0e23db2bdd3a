Feature: It is known which writes a failure may cost
  A primary acknowledges a write before any replica has it. Who dies in between takes it along, and nobody
  is told. Those who cannot afford that have two ways to be told, and both are the writer's choice.

  Rule: An acknowledged write that no replica has dies with its primary

    @cluster-019 @disruptive @known_limit
    Scenario: without asking for replicas, every write is acknowledged and lost
      Given a cluster of 3 primaries with 1 replica each
      When the replica of "user:1" hangs
      And the primary of "user:1" is cut off from its replicas
      And 500 keys of the slot of "user:1" are written
      Then exactly 500 of them are acknowledged
      When the primary of "user:1" is killed
      And that replica goes on
      Then a write to "user:1" is accepted again within 2 node timeouts and 2 seconds
      And exactly 500 of the acknowledged keys are lost

  Rule: A writer that waits for a replica is told

    @cluster-020 @disruptive
    Scenario: a writer that waits for a replica in vain does not take its writes for safe
      Given a cluster of 3 primaries with 1 replica each
      When the replica of "user:1" hangs
      And the primary of "user:1" is cut off from its replicas
      And 500 keys of the slot of "user:1" are written and a replica awaited
      Then exactly 0 of them are acknowledged
      And the others are refused with "WAIT"

    @cluster-021 @disruptive
    Scenario: no write that a replica has is lost with its primary
      Given a cluster of 3 primaries with 1 replica each
      And two writers that wait for a replica and a reader of the cluster
      When the primary of "user:1" is killed
      Then a write to "user:1" is accepted again within 2 node timeouts and 2 seconds
      When that primary is started again
      Then that primary follows the owner of "user:1" within 5 seconds
      And they saw
        | SEEN                                 | BOUND        |
        | acknowledged writes                  | at least 100 |
        | keys that lost an acknowledged write | exactly 0    |
        | stale reads                          | exactly 0    |

  Rule: A primary can refuse writes that no replica would get

    @cluster-022 @disruptive
    Scenario: a primary without replicas refuses writes when it shall have one
      Given a cluster of 3 primaries with 1 replica each
      And "min-replicas-to-write" is set to "1" at every node
      When 100 keys of the slot of "user:1" are written
      Then exactly 100 of them are acknowledged
      When the replica of "user:1" hangs
      And the primary of "user:1" is cut off from its replicas
      And 500 keys of the slot of "user:1" are written
      Then exactly 0 of them are acknowledged
      And the others are refused with "NOREPLICAS"

  Rule: Of several replicas the one with most data takes over, if the node timeout is not too short
    Each replica waits before it asks for votes, and the more others have more data, the longer. Valkey 9.1 makes this
    head start a fifteenth of the node timeout, but looks only every 100 ms whether the wait is over: with a node
    timeout below 3 seconds a replica that missed everything may be the first to ask, and is elected. Redis 7.0 gives a
    second for each place, whatever the node timeout is. Every node pings every other at least twice in a node timeout,
    so half of one after the election all have heard of the new owner.

    @cluster-023 @disruptive @waits
    Scenario: a replica that missed writes loses the election
      Given a cluster of 3 primaries with 2 replicas each
      And "cluster-node-timeout" is set to "4000" at every node
      When the replica of "user:1" hangs
      And the primary of "user:1" is cut off from its replicas
      And 500 keys of the slot of "user:1" are written and a replica awaited
      Then exactly 500 of them are acknowledged
      When the primary of "user:1" is killed
      And that replica goes on
      Then a write to "user:1" is accepted again within 10 seconds
      And that replica follows the owner of "user:1" within 12 seconds
      And exactly 0 of the acknowledged keys are lost
