@audit
Feature: The commands of a cluster's clients are answered as they expect
  One node of another version, or one node behind a proxy, spoils a share of all keys. So each command of a client is
  tried many times, over all primaries. `tests/test_sent_commands.py` compares them with the servers' own record. A
  defect of one command in 100 is found with a probability of 87 % by 200 trials.

  @core
  Rule: Conditions are kept on each primary

    @cluster-095
    Scenario: the cluster writes and counts under a condition
      A lock is a SET with NX, a refresh is one with XX. A proxy that drops the flag makes every caller an owner.
      Remedy: connect without the proxy, or let it pass the flags of SET and INCRBYFLOAT unchanged.

      Given the cluster under test
      When the cluster serves 200 conditional writes
      Then exactly 0 replies were wrong

    @cluster-096
    Scenario: the cluster changes a ttl only under the condition of EXPIRE
      An extension must not shorten a ttl (GT), and a default must not replace one (NX). Redis 7.0 brought these flags.
      Remedy: connect without the proxy, or let it pass the flags of EXPIRE unchanged.

      Given the cluster under test
      When the cluster serves 200 conditional ttls
      Then exactly 0 replies were wrong

    @cluster-097
    Scenario: a key that the cluster has deleted in any form is gone
      An invalidation is a DEL, an UNLINK, a GETDEL or a ttl of 0, as the client library chooses.
      Remedy: connect without the proxy, or let it pass UNLINK, GETDEL and EXPIRE unchanged.

      Given the cluster under test
      When the cluster serves 200 deletions in every form
      Then exactly 0 replies were wrong

    @cluster-140
    Scenario: the cluster returns several values and fields of one slot in the order that was asked for
      A proxy that sends one GET for each key of an MGET may reply "absent" for a key that it could not ask for.
      Remedy: connect without the proxy, or let it pass MGET and HMGET, and the errors TRYAGAIN and ASK, unchanged.

      Given the cluster under test
      When the cluster serves 200 reads of several keys
      Then exactly 0 replies were wrong

  @core
  Rule: A client can wait until a write has reached a replica

    @cluster-098
    Scenario: a replica of each primary confirms a write
      A client that must not lose a write in a failover waits for a replica (WAIT). The replica then returns the write.
      Remedy: CLUSTER NODES and `master_link_status` of INFO show a replica without a link; repair `masterauth` and the
      network between the nodes.

      Given the cluster under test
      When the cluster serves 20 writes that replicas confirm
      Then the measurement "replicas that confirmed" is at least 1

  Rule: The keys of an application can be found

    @cluster-099
    Scenario: a SCAN of all primaries returns every key that stays in the cluster
      An invalidation by pattern and an audit of keys rely on SCAN of each primary.
      Remedy: connect to the nodes without a proxy, or give its SCAN one node for all calls.

      Given the cluster under test
      When the cluster serves 300 keys to find by SCAN
      Then exactly 0 keys were missed
