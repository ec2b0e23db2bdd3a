Feature: An operator knows before a failure whether a failover would work
  `cluster_state:ok` is also true of a cluster whose replicas are dead, empty or forbidden to take over. Monitoring that
  watches this field alone learns of it at the death of a primary. Then a part of the keys is down until an operator
  comes. `why_not_failover_ready` names the known failover blockers.

  Rule: Each known failover blocker is named, and a healthy cluster has none

    @cluster-059 @core @disruptive
    Scenario: a healthy cluster has no failover blockers
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING | VALUE          |
        | hosts   | left and right |
      Then there are no failover blockers

    @cluster-060 @disruptive
    Scenario Outline: a failover blocker is found when a replica <CASE>
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING | VALUE          |
        | hosts   | left and right |
      Then there are no failover blockers
      When <EVENT>
      Then the failover blockers include "<BLOCKER>"

      Examples:
        | CASE                            | EVENT                                                                           | BLOCKER                           |
        | is killed                       | a replica of "user:1" is killed                                                 | is dead                           |
        | has lost its link for good      | a replica of "user:1" is unlinked from its primary                              | is not linked to its primary      |
        | is 12 MB behind its primary     | a replica of "user:1" is left behind                                            | bytes behind its primary          |
        | must not take over              | the setting "cluster-replica-no-failover" of a replica of "user:1" becomes "yes" | must not take over                |
        | notices failures too late       | the setting "cluster-node-timeout" of a replica of "user:1" becomes "60000"     | notices a failure only after 60 s |
        | is on the host of its primary   | the setting "cluster-announce-hostname" of a replica of "user:1" becomes "left" | are on one host, left             |

    @cluster-061 @disruptive
    Scenario: a failover blocker is found when primaries have no replicas
      Given an isolated cluster of 3 primaries without replicas
      Then the failover blockers include "has no replica that could take over"

    @cluster-062 @disruptive @waits
    Scenario: a failover blocker is found when two primaries are too few to vote
      Given an isolated cluster of 2 primaries with 1 replica each
      Then the failover blockers include "no majority is left to vote"

  @audit
  Rule: A replica can be elected, and then it has all writes

    @cluster-170
    Scenario: every node and its peers agree on its role, primary, shard and host name
      Peers never vote for a replica that they take for a primary, and its shard dies with its primary. A node that joins
      with the shard id of its primary, and a later epoch, is taken for one (valkey#2811). Clients follow an old host
      name to another machine (valkey#304). The test of this gate sends old host names through a proxy, since gossip
      mends them within seconds.
      Remedy: `CLUSTER BUMPEPOCH` on the primary that the replica follows; write no shard id into `nodes.conf`. For a host
      name, `CONFIG SET cluster-announce-hostname <name>` on the node again.

      Given the cluster under test
      Then there are no nodes whose peers know them otherwise

    @cluster-171
    Scenario: no replica lacks 1 MB that its primary wrote 3 seconds ago
      Such writes are lost if the replica takes over without its primary: `CLUSTER FAILOVER TAKEOVER` (valkey#2587). At
      the limit of its output buffer the primary ends the link, and the replica copies everything again (valkey#3963).
      Remedy: give the link more throughput, or the replica a machine like that of its primary. Until then
      `CONFIG SET client-output-buffer-limit "replica 512mb 0 0"` on every node, and no failover but the planned one.

      Given the cluster under test
      Then there are no nodes whose writes arrive late

    @cluster-172
    Scenario: no shard elects a primary every few minutes
      Each election stops the writes of its shard. An upgrade and a downgrade together need four elections. Two tools that
      both ask for failovers cause one every few seconds (valkey#3996), as does a replica without votes (valkey#2169).
      A restarted node counts from 0.
      Remedy: let one tool alone send `CLUSTER FAILOVER`. The log of a primary says why it denied its vote. On a busy
      machine `CONFIG SET cluster-node-timeout 15000` on every node.

      Given the cluster under test
      Then there are no nodes whose shard elects again and again

  Rule: A dead replica is found although every remaining node says cluster_state:ok

    @cluster-063 @disruptive
    Scenario: one of three replicas dies, and the remaining nodes still say that the cluster is ok
      The dead node's silence is the first blocker, what the other nodes say about it is the second. The last step asks
      only nodes that answer.

      Given an isolated cluster of 3 primaries with 1 replica each
      When a replica of "user:1" is killed
      Then the failover blockers include "does not answer"
      And the failover blockers include "is dead"
      And there are no unhealthy nodes
