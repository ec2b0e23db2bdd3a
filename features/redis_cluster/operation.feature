Feature: What goes wrong quietly is found by asking
  A slot that gets all the traffic, a key that fills a node, a setting changed on one node alone:
  nothing fails until the day it does. Each can be asked for, and the answer names the place.

  Rule: All nodes have the same settings and the same users

    @cluster-050 @audit
    Scenario: nodes differ only in what says which node it is
      Then no setting of the nodes differs
      And no user of the nodes differs

    @cluster-051 @disruptive
    Scenario: a setting that was changed at one node is named
      Given a cluster of 3 primaries with 1 replica each
      When "maxclients" is set to "5000" at a replica of "user:1" alone
      Then "maxclients" is named as different at that node, and nothing else

    @cluster-052 @disruptive
    Scenario: a user that one node alone knows is named
      Given a cluster of 3 primaries with 1 replica each
      When the user "reporting" is made at a replica of "user:1" alone
      Then "user reporting" is named as different at that node, and nothing else

  Rule: The hottest slot can be named

    @cluster-053
    Scenario: the slot of a key that everybody reads is the hottest
      Given a cluster of 3 primaries with 1 replica each and these settings
        | SETTING                    | VALUE |
        | cluster-slot-stats-enabled | yes   |
      And the cluster holds "news:1" as "a short text"
      And 300 keys are written to the cluster
      When "news:1" is read 1000 times
      Then the hottest slot is that of "news:1", by each of these
        | MEASURE           |
        | NETWORK-BYTES-IN  |
        | NETWORK-BYTES-OUT |

  Rule: The biggest key can be named

    @cluster-054
    Scenario: one big key among many small ones
      Given 300 keys are written to the cluster
      And the cluster holds a list of 20000 items at "queue:1"
      Then the biggest key is "queue:1", of at least 50000 bytes

  Rule: A machine's end takes no primary together with its replica

    @cluster-055
    Scenario: each replica is on another host than its primary
      Then no replica is on the host of its primary

    @cluster-056 @disruptive
    Scenario: a replica on the host of its primary is named
      Given a cluster of 3 primaries with 1 replica each
      And its primaries announce the host "left" and its replicas the host "right"
      Then within 5 seconds no replica is on the host of its primary
      When a replica of "user:1" announces the host "left"
      Then within 5 seconds it is named as being on the host of its primary, and no other
