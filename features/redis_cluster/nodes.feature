@audit
Feature: Each node has room, and runs what its peers run
  A cluster is as good as its worst node. One node that is full refuses the writes of its slots, and one of another
  version answers some keys in another way. An average over all nodes hides both. `practices.toml` changes a bound.

  @core
  Rule: All nodes run the same software

    @cluster-009
    Scenario: all nodes of the cluster run the same version
      Remedy: install the same version on all nodes, on replicas first.

      Given the cluster under test
      Then there are no version differences

  Rule: All primaries have the same functions

    @cluster-092
    Scenario: each library of functions is on all primaries in one version
      A cluster passes no function on to another shard, so FCALL fails for the keys of a primary without it.
      Remedy: `FUNCTION LOAD REPLACE <code>` with this library on every primary.

      Given the cluster under test
      Then there are no function differences

  Rule: A node has room for its keys, and its disk takes them

    @cluster-093
    Scenario: no node that evicts nothing is nearly full
      One full primary refuses the writes of its slots alone, so an average over the cluster hides it.
      Remedy: `CONFIG SET maxmemory <bytes>` on this node, delete its biggest keys, or move slots
      (`redis-cli --cluster rebalance`).

      Given the cluster under test
      Then the cluster has at most 80 % memory in use

    @cluster-094
    Scenario: every node can write its append-only file and its snapshots
      Remedy: read the error in the node's log, free its disk or mend the folder's rights; then `BGREWRITEAOF` and
      `BGSAVE`.

      Given the cluster under test
      Then the field "aof_last_write_status" is one of "ok"
      And the field "aof_last_bgrewrite_status" is one of "ok"
      And the field "rdb_last_bgsave_status" is one of "ok"

  Rule: The cluster runs a version with security fixes

    @cluster-012
    Scenario: the version of the cluster still gets security fixes
      `src/redis_practices/known_holes.toml` has the first version of each line without known holes.
      Remedy: upgrade to the version in the failure, replicas first; name a mended package in practices.toml
      (docs/acceptance.md). Managed services: apply the service update.

      Given the cluster under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
