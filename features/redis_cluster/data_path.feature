@audit
Feature: Values reach every node of the cluster and return unchanged
  A cluster spreads keys over many machines. One machine that loses or changes acknowledged data spoils a share of all
  keys, and no client can tell which share.
  Remedy: repeat the run on the addresses of the nodes, without a proxy. If it is accepted there, mend the proxy; else
  replace the node.

  @core
  Rule: Acknowledged data can be read back at once and complete
    One client writes, and a second client reads.

    @cluster-013
    Scenario: the cluster loses no acknowledged write
      Given the cluster under test
      When the cluster serves 2000 writes
      Then exactly 0 writes were lost

    @cluster-014
    Scenario: the cluster returns a value of 1 MiB unchanged
      Given the cluster under test
      When the cluster serves 1048576 bytes in one value
      Then exactly 0 bytes were changed

    @cluster-015
    Scenario: a read from the cluster sees the last acknowledged write
      Given the cluster under test
      When the cluster serves 200 reads after a write
      Then exactly 0 reads were stale

    @cluster-016
    Scenario: a deleted key is gone from the cluster
      Given the cluster under test
      When the cluster serves 100 deletions
      Then exactly 0 deleted keys were found

  @core
  Rule: Conditional and counting commands are atomic for all clients

    @cluster-017
    Scenario: the cluster grants a contested lock to exactly one client
      Given the cluster under test
      When the cluster serves 20 competing locks
      Then exactly 1 lock was granted

    @cluster-018
    Scenario: the cluster loses no increment of a shared counter
      Given the cluster under test
      When the cluster serves 200 increments by two clients
      Then exactly 0 increments were lost

  @core
  Rule: Every shard keeps a ttl as it was set

    @cluster-116
    Scenario: each primary reports the ttl that a client has set
      A proxy or a setting of one node spoils the ttls of its shard alone.
      Remedy: `CONFIG GET *` of this node and of another primary shows a difference, else look at the proxy before it.

      Given the cluster under test
      When every primary serves 1 key with a ttl of 100 seconds
      Then the measurement "reported ttl" is between 95 and 100 %

    @cluster-117
    Scenario: a key on each primary lives as long as its ttl
      Remedy: correct the clock of the node (NTP), and remove what changes the ttl on the way to it.

      Given the cluster under test
      When every primary serves 1 key with a ttl of 1 second
      Then the measurement "life of a key" is between 0.99 and 1.5 seconds

    @cluster-118
    Scenario: the clocks of each primary and its clients differ by at most 2 seconds
      Remedy: let NTP or chrony correct the clock of the node's machine, and that of the client.

      Given the cluster under test
      When every primary serves 1 reading of the clock
      Then the measurement "difference of the clocks" is at most 2 seconds

  Rule: The path to every shard has room for many clients

    @cluster-119
    Scenario: the path to each primary accepts 50 connections at once
      A client of a cluster connects to every primary, so the narrowest path limits all.
      Remedy: raise the limit of the balancer or proxy before this node, or `CONFIG SET maxclients 10000` on this node.

      Given the cluster under test
      When every primary serves 50 connections at once
      Then exactly 0 connections were refused

  Rule: Messages reach their subscribers at every shard

    @cluster-120
    Scenario: a message published on each primary reaches its subscriber within 1 second
      Remedy: let the proxy before this node pass PUBLISH and SUBSCRIBE; or `ACL SETUSER <user> &<channel>` on every node.

      Given the cluster under test
      When every primary serves 1 message
      Then the message took at most 1 second
