Feature: Silent problems of a cluster are found before they hurt
  A hot key takes all the traffic to one node. A big key fills its node. A setting is changed on one node alone. Nothing
  fails until the next peak or failover, but each problem can be queried, and the answer names its node or key.

  Rule: All nodes have the same settings and the same users

    @cluster-050 @audit
    Scenario: nodes differ only in the settings that identify a node
      Remedy: give all nodes the same redis.conf and ACL file: `CONFIG SET <setting> <value>`,
      `ACL SETUSER <user> <rules>` or `ACL DELUSER <user>` on the node that differs.

      Given the cluster under test
      Then there are no node differences

    @cluster-051 @disruptive
    Scenario: a setting that was changed on one node is found
      Given an isolated cluster of 3 primaries with 1 replica each
      When the setting "maxclients" of a replica of "user:1" becomes "5000"
      Then the node differences are
        | DIFFERENCE | NODE         |
        | maxclients | that replica |

    @cluster-052 @disruptive
    Scenario: a user that exists on one node alone is found
      Given an isolated cluster of 3 primaries with 1 replica each
      When the user "reporting" is created on a replica of "user:1"
      Then the node differences are
        | DIFFERENCE     | NODE         |
        | user reporting | that replica |

  Rule: A function is created on every primary, and replicas get it from their primary

    @cluster-032 @disruptive
    Scenario: a function created on one primary works for its keys and is unknown on all other primaries
      A test with one lucky key passes, and the users of all other keys see "function not found".

      Given an isolated cluster of 3 primaries with 1 replica each
      When the function "greet" is created on the owner of "user:1"
      Then the owner of "user:1" replies
        | COMMANDS             | REPLY |
        | FCALL greet 1 user:1 | hello |
      And a replica of "user:1" replies
        | COMMANDS                          | REPLY |
        | READONLY; FCALL_RO greet 1 user:1 | hello |
      And a primary other than that of "user:1" replies
        | COMMANDS      | REPLY |
        | FCALL greet 0 | ERR   |
      When the function "greet" is created on every primary
      Then a primary other than that of "user:1" replies
        | COMMANDS      | REPLY |
        | FCALL greet 0 | hello |

  Rule: The hot key and the big key can be found

    @cluster-053
    Scenario: the slot of a hot key is found by its network traffic
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING                    | VALUE |
        | cluster-slot-stats-enabled | yes   |
      And the cluster holds "a short text" as "news:1"
      And 300 keys are written
      When "news:1" is read 1000 times
      Then the hot slots are
        | KEY    | TRAFFIC           |
        | news:1 | NETWORK-BYTES-IN  |
        | news:1 | NETWORK-BYTES-OUT |

    @cluster-180
    Scenario: a hot key is found by its name
      The primaries count keys (HOTKEYS), else slots (SLOT-STATS), whose keys are asked for.

      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING                    | VALUE |
        | cluster-slot-stats-enabled | yes   |
      And the cluster holds "a short text" as "news:1"
      And 300 keys are written
      When "news:1" is read 1000 times
        | OPTION    | VALUE                |
        | meanwhile | hot keys are counted |
      Then the hot keys are
        | KEY    |
        | news:1 |

    @cluster-054 @each_slot
    Scenario: one big key is found among many small keys
      Given the cluster under test
      And 300 keys are written
      And these keys
        | KEY     | TYPE | COUNT |
        | queue:1 | list | 20000 |
      Then the big keys are
        | KEY     |
        | queue:1 |

  Rule: The death of a machine takes no primary together with its replica

    @cluster-055
    Scenario: each replica is on another host than its primary
      Given the cluster under test
      Then there are no shared hosts

    @cluster-056 @disruptive
    Scenario: a replica on the host of its primary is found
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING | VALUE          |
        | hosts   | left and right |
      Then there are no shared hosts
      When the setting "cluster-announce-hostname" of a replica of "user:1" becomes "left"
      Then the shared hosts are
        | NODE         | HOST |
        | that replica | left |
