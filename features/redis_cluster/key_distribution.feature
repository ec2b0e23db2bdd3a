Feature: The slot of a key decides which node has it
  Client and server compute the slot of a key (CRC16 modulo 16,384), each for itself. If they disagree, requests go to the
  wrong node. If keys do not spread, one node is full while its peers idle. Jobs that clean up, count or export scan
  every primary, and miss keys that migrate meanwhile.

  Rule: Client and server compute the same slot for every key
    Remedy: install another client library, and connect without a proxy that changes keys.

    @core @cluster-037
    Scenario: client and server compute the same slot for any binary key
      A kind of key that is one in 100 is among 500 random keys with a probability of 99 %. 500 more have braces.

      Given the cluster under test
      Then "client and server compute the same slot" holds for 1000 keys

    @cluster-039 @each_slot
    Scenario: client and server agree on one key of each of the 16,384 slots
      Given the cluster under test
      Then "client and server agree on a key of the slot" holds for 16,384 slots

  @core
  Rule: The first hash tag that is not empty decides the slot
    Remedy: install another client library, and connect without a proxy that changes keys.

    @cluster-040
    Scenario: the hash tag is the text between the first opening brace and the next closing one
      Given the cluster under test
      Then the hash tag of each key is
        | KEY                    | TAG          |
        | {user}.name            | user         |
        | orders:{user}          | user         |
        | foo{}{bar}             | foo{}{bar}   |
        | foo{{bar}}zap          | {bar         |
        | foo{bar}{zap}          | bar          |
        | {}                     | {}           |
        | }{                     | }{           |
        | a}b{c}                 | c            |
        | ключ{имя}              | имя          |
        | \x00{\xff\x00\x0a}\x01 | \xff\x00\x0a |
        |                        |              |

    @cluster-041
    Scenario: the hash tag decides the slot with any text around it
      Given the cluster under test
      Then "the hash tag alone decides the slot" holds for 100 tags

  @core
  Rule: A key lies on the nodes that have its slot, and nowhere else

    @cluster-042 @each_node
    Scenario: each node holds the keys of its slots and no others
      A node that misplaces one key in 100 is found with a probability of 95 %.
      Remedy: `redis-cli --cluster fix <host>:<port>` settles the slots; then delete keys on nodes that do not own their
      slot.

      Given the cluster under test
      And 300 keys are written
      Then there are no misplaced keys
      And every written key is readable

  Rule: Keys spread over the primaries as evenly as chance allows

    @cluster-043
    Scenario: random keys spread over the primaries in proportion to their slots
      Given the cluster under test
      And 10,000 keys are written
      Then there are no crowded primaries

    @cluster-044
    Scenario: every primary has an even share of the slots
      Given the cluster under test
      Then the cluster has at most 10 % slot imbalance

  Rule: A scan of a cluster visits every primary, and visits it again if slots arrive

    @cluster-082 @each_slot
    Scenario: a scan of all primaries finds every key exactly once
      Given the cluster under test
      And 5000 keys are written
      When the keys are scanned
      Then exactly 5000 keys were found
      And exactly 0 keys were found twice

    @cluster-083 @disruptive @known_limit
    Scenario: a scan of one primary after another misses the keys of a slot that migrates behind it
      Given an isolated cluster of 3 primaries with 1 replica each
      And 500 keys are written
      When the keys are scanned
        | OPTION    | VALUE           |
        | meanwhile | a slot migrates |
      Then at least 1 key was missed
      And exactly 0 keys were missed in other slots

    @cluster-084 @disruptive
    Scenario: a scan that looks again where slots arrive finds every key
      Given an isolated cluster of 3 primaries with 1 replica each
      And 500 keys are written
      When the keys are scanned
        | OPTION    | VALUE                     |
        | method    | again where slots arrive  |
        | meanwhile | a slot migrates           |
      Then exactly 500 keys were found

  Rule: No acknowledged key is lost and no deleted key returns in any history of planned events
    Events are writes, deletes, expiries, slot migrations, planned failovers and new nodes, in any order.

    @cluster-045 @disruptive @waits
    Scenario Outline: every key reads as acknowledged in <HISTORIES> histories of migrations, planned failovers and new nodes
      Given an isolated cluster of 3 primaries with 1 replica each
      Then "every key of the cluster reads as acknowledged" holds for <HISTORIES> histories

      Examples:
        | HISTORIES |
        | 4         |

      @slow
      Examples: more
        | HISTORIES |
        | 10        |
