Feature: A client finds a key on the node that owns its slot
  A client may ask the wrong node, because its slot map is stale or empty. The replies MOVED and ASK send it to the right
  one, and a client that does not follow them fails at every resharding and failover. Commands over several keys need one
  slot, so applications plan their hash tags before they move to a cluster.

  @core
  Rule: A node that does not own the slot of a key replies MOVED with the owner
    Remedy: connect to the nodes without a proxy that changes replies; correct `cluster-announce-ip` and
    `cluster-announce-port`.

    @cluster-065 @audit @each_node
    Scenario: a wrong primary replies MOVED, and a client with a stale slot map follows
      Given the cluster under test
      And the cluster holds "Ann" as "user:1"
      And 300 keys are written
      Then a primary other than that of "user:1" replies
        | COMMANDS   | REPLY |
        | GET user:1 | MOVED |
      And every primary has at most 1 redirection to a written key
      And a client with a stale slot map reads "Ann" from "user:1"

  @core
  Rule: A replica redirects clients to its primary until they accept stale reads with READONLY
    Remedy: connect to the nodes without a proxy that changes replies.

    @cluster-064
    Scenario: a replica serves reads after READONLY alone, and never takes a write
      Given the cluster under test
      And the cluster holds "Ann" as "user:1"
      Then a replica of "user:1" replies
        | COMMANDS                        | REPLY |
        | GET user:1                      | MOVED |
        | READONLY; GET user:1            | Ann   |
        | READONLY; SET user:1 Bob        | MOVED |
        | READONLY; READWRITE; GET user:1 | MOVED |
      And a client reads "Ann" from "user:1"

  Rule: While a slot is migrating, each of its keys is found where it is

    @cluster-066 @disruptive
    Scenario: a key that has moved is read from the new node after ASKING
      Given an isolated cluster of 3 primaries with 1 replica each
      And the cluster holds "here" as "{cart}:1"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      Then the owner of "{cart}:1" replies
        | COMMANDS        | REPLY |
        | GET {cart}:1    | here  |
        | GET {cart}:2    | ASK   |
        | GET {cart}:none | ASK   |
      And their new primary replies
        | COMMANDS                       | REPLY    |
        | GET {cart}:2                   | MOVED    |
        | ASKING; GET {cart}:2           | ahead    |
        | ASKING; MGET {cart}:1 {cart}:2 | TRYAGAIN |
      And a client reads "here" from "{cart}:1"
      And a client reads "ahead" from "{cart}:2"

    @cluster-067 @disruptive
    Scenario: a command on two keys of a migrating slot gets TRYAGAIN if only one of them has moved
      Redis 6.2 redirects such a client to the new node, which replies TRYAGAIN: one more round trip each time.

      Given an isolated cluster of 3 primaries with 1 replica each
      And an engine with "Redis 7.0"
      And the cluster holds "here" as "{cart}:1"
      And the cluster holds "ahead" as "{cart}:2"
      When the slot of "{cart}" is migrating and "{cart}:2" has moved
      Then the owner of "{cart}:1" replies
        | COMMANDS               | REPLY    |
        | MGET {cart}:1 {cart}:2 | TRYAGAIN |

  Rule: A command takes keys of one slot, and a hash tag puts them there

    @cluster-068
    Scenario Outline: <NAME> is refused over two slots and works with one hash tag
      Given the cluster under test
      And these keys
        | KEY     | TYPE | VALUE | PLACE          |
        | fan:1   | set  | ann   |                |
        | fan:2   | set  | bob   | beside "fan:1" |
        | {fan}:1 | set  | ann   |                |
        | {fan}:2 | set  | bob   |                |
      Then the owner of "fan:1" replies
        | COMMANDS    | REPLY     |
        | <SCATTERED> | CROSSSLOT |
      And the owner of "{fan}:1" replies
        | COMMANDS   | REPLY   |
        | <TOGETHER> | <REPLY> |

      Examples:
        | NAME       | SCATTERED                           | TOGETHER                                | REPLY |
        | MSET       | MSET fan:1 1 fan:2 2                | MSET {fan}:1 1 {fan}:2 2                | OK    |
        | RENAME     | RENAME fan:1 fan:2                  | RENAME {fan}:1 {fan}:2                  | OK    |
        | SDIFF      | SDIFF fan:1 fan:2                   | SDIFF {fan}:1 {fan}:2                   | ann   |
        | EVAL       | EVAL return(7) 2 fan:1 fan:2        | EVAL return(7) 2 {fan}:1 {fan}:2        | 7     |
        | MULTI/EXEC | MULTI; DEL fan:1; SET fan:2 2; EXEC | MULTI; DEL {fan}:1; SET {fan}:2 2; EXEC | 1 OK  |

  Rule: A pipeline over several nodes has its replies in the order of its commands

    @cluster-069
    Scenario: one invalid command in a pipeline fails alone
      Given the cluster under test
      When a pipeline of 600 commands is sent
      Then exactly 0 replies were out of order
      And exactly 1 command was refused
      And the pipeline failed with "not an integer"

  Rule: A cluster has the numbered databases of its configuration, by default one

    @cluster-070
    Scenario: a client may select exactly the databases of the configuration
      Given the cluster under test
      Then there are no database differences

    @cluster-071 @disruptive
    Scenario: a cluster that is configured for four databases has exactly four
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING           | VALUE |
        | cluster-databases | 4     |
      Then there are no database differences
