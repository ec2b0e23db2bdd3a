@audit
Feature: The nodes form one cluster
  Clients ask any node for the map of slots and believe it. Where two nodes disagree, or a slot
  has no owner, some keys cannot be reached, and which ones depends on whom a client asked.

  @core
  Rule: Every slot has exactly one primary, and all nodes say the same

    @cluster-029
    Scenario: every node says that the cluster is well
      Then every node says of the cluster
        | FIELD                  | VALUE |
        | cluster_state          | ok    |
        | cluster_slots_assigned | 16384 |
        | cluster_slots_ok       | 16384 |
        | cluster_slots_fail     | 0     |

    @cluster-030
    Scenario: all nodes give one map in which each slot has exactly one primary
      Then the map of every node gives exactly 16384 slots exactly one primary each
      And all nodes give the same map
        | COMMAND        |
        | CLUSTER SLOTS  |
        | CLUSTER SHARDS |
        | CLUSTER NODES  |

  @core
  Rule: Every address that the nodes announce answers from where the client stands

    @cluster-031
    Scenario: each announced address is that of the node it is announced for
      Then each address that a node announces answers, as the node it is announced for
