Feature: A dead primary is replaced
  A cluster earns its keep on the day a machine dies: nobody is woken, and users see seconds of errors
  for a part of the keys. Whoever never tried it learns on that day that a replica could not take over.

  Rule: Writes come back without anyone touching the cluster
    When the others have agreed that a primary is gone, its replica still waits 0.5 to 1 second before it asks for
    their votes. From Valkey 9.0 on it waits less where the node timeout is shorter than 15 seconds (valkey#2449): here
    writes come back in half the time, see docs/compatibility.md.

    @cluster-024 @core @disruptive
    Scenario: a replica takes over a killed primary, which comes back as a replica
      Given a cluster of 3 primaries with 1 replica each
      And 300 keys are written to the cluster
      And two writers and a reader of the cluster
      When the primary of "user:1" is killed
      Then a write to "user:1" is accepted again within 2 node timeouts and 2 seconds
      And all of them are readable
      And they saw
        | SEEN                | BOUND                                    |
        | acknowledged writes | at least 100                             |
        | longest gap         | within 2 node timeouts and 2.5 seconds   |
      When that primary is started again
      Then that primary follows the owner of "user:1" within 5 seconds
      And all of them are readable

    @cluster-025 @core @disruptive
    Scenario: a replica takes over a primary that hangs, which takes no stale write when it goes on
      A client that waits for the one that hangs loses a second by its time-out on top of the others' gap.

      Given a cluster of 3 primaries with 1 replica each
      And 300 keys are written to the cluster
      And two writers and a reader of the cluster
      When the primary of "user:1" hangs
      Then a write to "user:1" is accepted again within 2 node timeouts and 2 seconds
      And they saw
        | SEEN                | BOUND                                    |
        | acknowledged writes | at least 100                             |
        | longest gap         | within 2 node timeouts and 3.5 seconds   |
      When that primary goes on
      Then that primary follows the owner of "user:1" within 5 seconds
      And that primary answers
        | COMMANDS         | ANSWER |
        | GET user:1       | MOVED  |
        | SET user:1 stale | MOVED  |
      And "user:1" reads "written again" through a client of the cluster
      And all of them are readable

  Rule: A failover that is planned costs no error and no write
    The node timeout is longer than any pause of a busy machine here: of 0.5 seconds, nodes that had to wait for a
    processor so long were taken for dead, and the cluster was down though nothing had failed.

    @cluster-026 @core @disruptive
    Scenario: a replica takes over as planned, under load
      Given a cluster of 3 primaries with 1 replica each, node timeout 2 seconds
      And two writers and a reader of the cluster
      When the replica of "user:1" takes over as planned
      Then that primary follows the owner of "user:1" within 5 seconds
      And they saw
        | SEEN                                 | BOUND         |
        | errors                               | exactly 0     |
        | keys that lost an acknowledged write | exactly 0     |
        | stale reads                          | exactly 0     |
        | longest gap                          | within 2 seconds |

    @cluster-027 @disruptive
    Scenario: every node is restarted under load
      Given a cluster of 3 primaries with 1 replica each, node timeout 2 seconds
      And two writers and a reader of the cluster
      When every node is started again, each primary after a planned failover
      Then they saw
        | SEEN                                 | BOUND            |
        | errors                               | exactly 0        |
        | keys that lost an acknowledged write | exactly 0        |
        | stale reads                          | exactly 0        |
        | longest gap                          | within 2 seconds |

    @cluster-028 @disruptive @waits
    Scenario: a failover that cannot be is refused with its reason
      Given a cluster of 3 primaries with 1 replica each
      Then a planned failover to the primary of "user:1" is refused with "to a replica"
      When the primary of "user:1" hangs
      Then a planned failover to that replica is refused with "its primary"
