Feature: Nodes come and go while clients are served
  A cluster outgrows its machines, and machines are replaced. An operator who has to ask for a night without
  users to do so will put it off until the day it is too late.

  Rule: A node joins empty, takes its share, and leaves without a trace

    @cluster-033 @core @disruptive @waits
    Scenario: a node joins and leaves under load
      Given a cluster of 3 primaries with 1 replica each, node timeout 2 seconds
      And an empty node
      And 2000 keys are written to the cluster
      And two writers and a reader of the cluster
      When the empty node joins and the slots are shared out anew
      Then no primary's number of slots is more than 1 % off an even share
      And all of them are readable
      When the new node drains and leaves
      Then no other node knows the new node, which is empty and alone
      And they saw
        | SEEN                                 | BOUND            |
        | errors                               | exactly 0        |
        | keys that lost an acknowledged write | exactly 0        |
        | stale reads                          | exactly 0        |
        | longest gap                          | within 2 seconds |
      And all of them are readable

  Rule: A client that does not know the new node follows to it
    The first slot that moves to a new node is answered with ASK and its address while the node, without a slot, is in
    no map that a client could ask for. redis-py 8.1 ends in an AttributeError then, see
    https://github.com/redis/redis-py/issues/4015; the client of src/redis_practices/clients.py adds what is missing.

    @cluster-034 @disruptive @known_limit
    Scenario: a client of src/redis_practices/clients.py reads what has gone ahead, and redis-py's own fails
      Given a cluster of 3 primaries without replicas
      And an empty node
      And the cluster holds "user:1" as "Ann"
      And a client of the cluster, and redis-py's own, that know its nodes
      When the empty node joins, and "user:1" has gone ahead to it
      Then the client of src/redis_practices/clients.py that reads "user:1" gets "Ann"
      And the client of redis-py that reads "user:1" gets "AttributeError"

  Rule: A new node serves what the others serve

    @cluster-035 @disruptive
    Scenario: functions and users are there before the first slot
      Neither belongs to a key, so neither moves with one.

      Given a cluster of 3 primaries with 1 replica each
      And an empty node
      When the function "greet" is loaded at every primary
      And the user "reporting" is made at every node
      And the empty node joins and the slots are shared out anew
      Then the new node answers
        | COMMANDS                 | ANSWER |
        | FCALL greet 0            | hello  |
        | AUTH reporting x; PING   | NOPERM |
        | AUTH reporting x; DBSIZE | 0      |

  Rule: A client outlives every node that it knew

    @cluster-036 @disruptive @waits
    Scenario: every node is replaced under load
      Given a cluster of 3 primaries without replicas, node timeout 2 seconds
      And 3 empty nodes
      And 300 keys are written to the cluster
      And two writers and a reader of the cluster
      When each node is replaced by an empty one
      Then the cluster consists of the new nodes alone
      And they saw
        | SEEN                                 | BOUND            |
        | errors                               | exactly 0        |
        | keys that lost an acknowledged write | exactly 0        |
        | stale reads                          | exactly 0        |
        | longest gap                          | within 2 seconds |
      And all of them are readable
