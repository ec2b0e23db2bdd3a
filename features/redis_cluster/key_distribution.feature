Feature: Keys are distributed over the nodes by their slots
  Client and server compute a key's slot each for themselves. If they ever disagree, keys are sent
  astray; if keys do not spread, one node is full while the others idle.

  @core
  Rule: The client's slot of any key is the server's

    @cluster-037
    Scenario: the slot of any binary key
      Then the client's slot of any binary key is the server's

    @cluster-038
    Scenario: the slots of 10000 random keys
      When client and server compute the slots of 10000 random binary keys
      Then they agree on all of them
      And it took within 3 seconds

    @cluster-039
    Scenario: one key for each of the 16384 slots
      When client and server compute the slots of one key for each slot
      Then they agree on all of them
      And exactly 16384 different slots were named

  @core
  Rule: The first hash tag that is not empty decides alone

    @cluster-040
    Scenario: the part of a key that counts
      Then client and server agree that of each key this part decides
        | KEY                   | PART                  |
        | {user}.name           | user                  |
        | orders:{user}         | user                  |
        | foo{}{bar}            | foo{}{bar}            |
        | foo{{bar}}zap         | {bar                  |
        | foo{bar}{zap}         | bar                   |
        | {}                    | {}                    |
        | {                     | {                     |
        | }{                    | }{                    |
        | a{b                   | a{b                   |
        | a}b{c}                | c                     |
        | ключ{имя}             | имя                   |
        | \x00{\xff\x00\x0a}\x01 | \xff\x00\x0a         |
        |                       |                       |

    @cluster-041
    Scenario: any tag, whatever is around it
      Then a key with any hash tag has the slot of the tag alone, for client and server

  @core
  Rule: A key lies on the nodes that have its slot, and nowhere else

    @cluster-042
    Scenario: each node holds the keys of its slots
      Given 1000 keys are written to the cluster
      Then each of them is on the primary of its slot and on each of its replicas
      And no other node holds anything in their slots
      And all of them are readable

  Rule: Keys spread over the primaries as evenly as chance allows

    # Random keys are counted on the servers and held against the slots of each primary. The significance makes a
    # false alarm one in a thousand million runs; of 3 primaries, one with 13 % more keys than its slots promise is found.
    @cluster-043
    Scenario: random keys spread by slots
      Given 10000 random keys are written to the cluster
      Then by the chi-squared test their spread is chance, at a significance of 1e-9

    @cluster-044
    Scenario: slots are shared out evenly
      Then no primary's number of slots is more than 10 % off an even share

  Rule: Whatever happens to the cluster, no acknowledged key is lost and no deleted one returns
    Events are writes, deletes, expiries, slot moves, failovers and new nodes, in any order.

    @cluster-045 @disruptive @waits
    Scenario: any history
      Given a cluster of 3 primaries with 1 replica each
      Then in 10 histories of up to 15 events every key reads as acknowledged
