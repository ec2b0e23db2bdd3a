Feature: Nodes join and leave while clients are served
  A cluster outgrows its machines, and machines are replaced. If scaling out, scaling in and replacement need a
  maintenance window, operators put them off until it is too late. Functions and users belong to nodes, so a new node
  without them fails the first requests for its slots.

  Rule: A node joins empty, takes its share of the slots, and leaves without remnants

    @cluster-033 @core @disruptive @waits
    Scenario: a node joins, gets its share of the slots, and leaves again under load
      Given an isolated cluster of 3 primaries with 1 replica each
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And an empty node
      And 2000 keys are written
      And a workload of 2 writers and 1 reader
      When the new node is added
      And the slots are rebalanced
      Then the cluster has at most 1 % slot imbalance
      And every written key is readable
      When the new node is removed from the cluster
      Then there are no remnants of the removed node
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |
      And every written key is readable

  Rule: A client follows a redirection to a node that it does not know
    While its first slot migrates, a new node is in no slot map yet, and clients get its address from ASK alone. The
    client of redis-py 8.1 then fails with an AttributeError: https://github.com/redis/redis-py/issues/4015. The client
    of src/redis_practices/clients.py adds what is missing.

    @cluster-034 @disruptive @known_limit
    Scenario: the client of src/redis_practices/clients.py follows ASK to a new node, and the client of redis-py fails
      Given an isolated cluster of 3 primaries without replicas
      And an empty node
      And the cluster holds "Ann" as "user:1"
      When "user:1" is read once
      And "user:1" is read once
        | OPTION | VALUE    |
        | client | redis-py |
      And the new node is added
      And the slot of "user:1" is migrating and "user:1" has moved
      Then a client reads "Ann" from "user:1"
      When "user:1" is read once
        | OPTION | VALUE    |
        | client | redis-py |
      Then the read failed with "AttributeError"

  Rule: A new node serves what the other nodes serve

    @cluster-035 @disruptive
    Scenario: a new node has the functions and users of the cluster before its first slot
      Given an isolated cluster of 3 primaries with 1 replica each
      And an empty node
      When the function "greet" is created on every primary
      And the user "reporting" is created on every node
      And the new node is added
      And the slots are rebalanced
      Then the new node replies
        | COMMANDS                 | REPLY  |
        | FCALL greet 0            | hello  |
        | AUTH reporting x; PING   | NOPERM |
        | AUTH reporting x; DBSIZE | 0      |

  Rule: A client stays connected while every node that it knew is replaced

    @cluster-036 @disruptive @waits @slow
    Scenario: all nodes are replaced one after another under load
      Given an isolated cluster of 3 primaries without replicas
        | SETTING              | VALUE |
        | cluster-node-timeout | 2000  |
      And 3 empty nodes
      And 300 keys are written
      And a workload of 2 writers and 1 reader
      When every primary is replaced by an empty node
      Then the cluster has exactly 0 old nodes
      And the workload measured
        | MEASUREMENT | BOUND            |
        | errors      | exactly 0        |
        | writes lost | exactly 0        |
        | stale reads | exactly 0        |
        | longest gap | within 2 seconds |
      And every written key is readable
