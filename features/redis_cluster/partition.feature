Feature: A parted network leaves one primary a slot
  When the network parts, both sides think that the other has died. If both went on to take writes, one side's
  would be thrown away when the network heals.

  Rule: Only the side with most primaries goes on
    Redis 7.0 replaced a primary that was cut off after up to 2.9 seconds on an idle machine, with a node timeout of
    half a second, and one that was killed after 2: so here it has a second more.

    @cluster-057 @core @disruptive
    Scenario: a primary that hears nobody stops, is replaced, and follows when the network heals
      Given a cluster of 3 primaries with 1 replica each
      And a network between its nodes that can be parted
      And the cluster holds "user:1" as "Ann"
      And two writers and a reader of the cluster
      When the primary of "user:1" is parted from all other nodes
      Then that primary answers "PERSIST user:1" with CLUSTERDOWN within 2 node timeouts and 1 second
      And a write to "user:1" is accepted again within 2 node timeouts and 3 seconds
      And that primary answers
        | COMMANDS   | ANSWER      |
        | GET user:1 | CLUSTERDOWN |
      When the network is whole again
      Then that primary follows the owner of "user:1" within 5 seconds
      And "user:1" reads "written again" through a client of the cluster
      And they saw
        | SEEN                                 | BOUND        |
        | acknowledged writes                  | at least 100 |
        | keys that lost an acknowledged write | exactly 0    |

    @cluster-058 @disruptive @waits
    Scenario: a primary that hears nobody serves old values, if it is allowed to
      Given a cluster of 3 primaries with 1 replica each
      And "cluster-allow-reads-when-down" is set to "yes" at every node
      And a network between its nodes that can be parted
      And the cluster holds "user:1" as "Ann"
      When the primary of "user:1" is parted from all other nodes
      Then that primary answers "PERSIST user:1" with CLUSTERDOWN within 2 node timeouts and 1 second
      And a write to "user:1" is accepted again within 2 node timeouts and 3 seconds
      And that primary answers
        | COMMANDS   | ANSWER |
        | GET user:1 | Ann    |
