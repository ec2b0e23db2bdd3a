Feature: The nodes form one cluster with one slot map
  A client asks any node for the slot map and believes it. Where two nodes disagree, or a slot has no primary, some clients
  cannot reach some keys. An announced address that clients cannot reach has the same effect: the usual trap of
  containers and NAT.

  @core @audit
  Rule: Every slot has one primary, and all nodes give the same slot map
    Remedy: `redis-cli --cluster fix <host>:<port>` gives each slot to one primary; restart nodes that do not answer.

    @cluster-029
    Scenario: every node says that the cluster is ok and all slots are served
      Given the cluster under test
      Then there are no unhealthy nodes

    @cluster-030
    Scenario: all nodes give one slot map, in which each slot has exactly one primary
      Given the cluster under test
      Then every node has exactly 16384 slots with one primary
      And there are no slot map differences

  @core @audit
  Rule: Every announced address is reachable for clients

    @cluster-031
    Scenario: the announced node answers at each announced address
      Two nodes that announce one address send the clients of one shard to the other one, which sends them back.
      Remedy: announce what clients reach: `CONFIG SET cluster-announce-ip <address>` and
      `CONFIG SET cluster-announce-port <port>`. Where a hostname does not resolve,
      `CONFIG SET cluster-preferred-endpoint-type ip`.

      Given the cluster under test
      Then there are no wrong addresses

    @cluster-110
    Scenario: every node tells clients the hosts of all nodes
      A node may hide hosts on purpose, for clients that reach all nodes by one host. Most clients then ask a resolver for
      an empty name, and redis-py connects to its own machine (redis-py#2795).
      Remedy: `CONFIG SET cluster-preferred-endpoint-type ip` on every node, then `CONFIG REWRITE`.

      Given the cluster under test
      Then there are no hidden endpoints

  @audit
  Rule: All nodes know the same nodes

    @cluster-111
    Scenario: every node of the cluster knows every other node
      A node that some nodes have forgotten gets no vote from them, and sends no clients to them.
      Remedy: `CLUSTER MEET <host> <port>` from a node that knows it brings it back. `CLUSTER FORGET <node>` on every node
      within a minute removes it.

      Given the cluster under test
      Then there are no membership differences

    @cluster-175
    Scenario: no node waits for ever to become a member
      A handshake takes two messages. Where the bus port does not answer, it ends after a node timeout, and the next one
      begins (redis#5881, valkey#1251). The node believes that it is a member, and tools wait for it without end.
      Remedy: open the bus port in the firewall, usually the port for clients plus 10000. If the node announces a wrong
      one, `CONFIG SET cluster-announce-bus-port <port>` on it. `CLUSTER RESET HARD` on it ends its attempts.

      Given the cluster under test
      Then there are no nodes whose handshake never ends

  Rule: A cluster of 3 to 48 primaries has one slot map, and its keys spread evenly
    No node fails here. The node timeout is longer than one of many nodes may wait for a busy processor.

    @cluster-085
    Scenario Outline: a cluster of <PRIMARIES> primaries has one slot map and an even spread of keys
      Given an isolated cluster of <PRIMARIES> primaries without replicas
        | SETTING              | VALUE |
        | cluster-node-timeout | 5000  |
      And 10,000 keys are written
      Then every node has exactly 16384 slots with one primary
      And there are no slot map differences
      And the cluster has at most 1 % slot imbalance
      And there are no crowded primaries

      Examples:
        | PRIMARIES |
        | 3         |
        | 6         |

      @slow
      Examples: more
        | PRIMARIES |
        | 12        |

      @slow
      Examples: sizes that take their time to start
        | PRIMARIES |
        | 48        |
