Feature: Whether a failover would work is known before it is needed
  "cluster_state:ok" is as true of a cluster whose replicas are dead, empty or forbidden to take over. Whoever
  watches nothing else learns of them together with the death of a primary.

  Rule: A cluster that would replace any primary in time is told from one that would not, and why

    @cluster-059 @core @disruptive
    Scenario: nothing stands in the way of a healthy cluster
      Given a cluster of 3 primaries with 1 replica each
      And its primaries announce the host "left" and its replicas the host "right"
      Then within 5 seconds nothing stands in the way of a failover

    @cluster-060 @disruptive
    Scenario Outline: <DEFECT>
      Given a cluster of 3 primaries with 1 replica each
      And its primaries announce the host "left" and its replicas the host "right"
      Then within 5 seconds nothing stands in the way of a failover
      When this becomes true of the replica of "user:1": <DEFECT>
      Then within 5 seconds "<REASON>" is named as what stands in the way

      Examples:
        | DEFECT                                    | REASON                               |
        | the replica is killed                     | is dead                              |
        | the replica lost its link for good        | is not linked to its primary         |
        | the replica hangs while much is written   | bytes behind its primary             |
        | the replica must not take over            | must not take over                   |
        | failures are noticed late                 | notices a failure only after 60 s    |
        | the replica is on the host of its primary | are on one host, left                |

    @cluster-061 @disruptive
    Scenario: primaries without replicas
      Given a cluster of 3 primaries without replicas
      Then within 5 seconds "has no replica that could take over" is named as what stands in the way

    @cluster-062 @disruptive @waits
    Scenario: too few primaries to vote
      Given a cluster of 2 primaries with 1 replica each
      Then within 5 seconds "no majority is left to vote" is named as what stands in the way

  Rule: A dead replica is reported, though every node that is left says that all is well

    @cluster-063 @disruptive
    Scenario: one of three replicas dies
      Given a cluster of 3 primaries with 1 replica each
      When the replica of "user:1" is killed
      Then within 2 seconds "does not answer" is named as what stands in the way
      And within 5 seconds "is dead" is named as what stands in the way
      And the nodes that answer say that the cluster is well
