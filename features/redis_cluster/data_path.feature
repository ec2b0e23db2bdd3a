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
