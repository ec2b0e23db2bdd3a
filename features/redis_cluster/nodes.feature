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

  Rule: All nodes have the same time

    @cluster-112
    Scenario: the clocks of all nodes differ by at most 2 seconds
      A replica gets the end of a ttl as a moment. After a failover it deletes keys by its own clock, too early or too late.
      Remedy: let NTP or chrony correct the clock of the machine that differs.

      Given the cluster under test
      Then the cluster has at most 2 seconds clock difference

  Rule: Every key is where clients look for it

    @cluster-113
    Scenario: no primary holds keys in a slot of another primary
      An interrupted migration leaves such keys. They take memory, no client finds them, and an old value may come back
      with the slot.
      Remedy: `CLUSTER GETKEYSINSLOT <slot> 10` on this node names them. To delete them, `CLUSTER FLUSHSLOT <slot>` on this
      node (Valkey 9.0); else `CLUSTER SETSLOT <slot> IMPORTING <owner>`, then `ASKING` and `DEL <key>` for each key, then
      `CLUSTER SETSLOT <slot> STABLE`.

      Given the cluster under test
      Then there are no unreachable keys

  Rule: A restart or the loss of a host leaves each shard with its keys

    @cluster-114
    Scenario: a primary that keeps data has a log or snapshots on its disk
      A primary that restarts before its replica replaces it is empty then, and the replica copies that. A primary that
      evicts any key (`allkeys-`) is a cache, and needs no files. With `noeviction` it refuses writes when it is full,
      which no cache does.
      Remedy: `CONFIG SET appendonly yes` on every node, then `CONFIG REWRITE`; on a cache
      `CONFIG SET maxmemory-policy allkeys-lru`. Without a disk, delay the restart of a node by more than two node
      timeouts, and waive this scenario.

      Given the cluster under test
      Then there are no primaries without files

    @cluster-115
    Scenario: no host holds a majority of the primaries or a whole shard
      A host is the announced name of a node, else the host of its address; a zone is its `availability-zone`. A cluster
      with one host in all is not judged. Of two zones one always holds a majority, so only copies are asked of them.
      Remedy: `CLUSTER FAILOVER` on a replica at another host spreads the primaries. `CLUSTER REPLICATE <node>` on a
      replica changes its primary.

      Given the cluster under test
      Then there are no crowded places

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

    @cluster-173
    Scenario: the memory of each machine holds the keys of a full node and the copies of a fork
      A snapshot, a rewrite of the log and a replica's copy need a fork. Under writes the fork copies up to all of the
      memory, and the kernel kills the node (valkey#3609). The last fork shows the share, if it copied at least 64 MB.
      Remedy: `CONFIG SET maxmemory <bytes>` on every node, so that the keys and this share fit. Take snapshots when there
      are few writes.

      Given the cluster under test
      Then there are no nodes whose machine is too small for a fork

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
      (docs/acceptance.md). Managed services: apply the service update. A hole that a setting opens is closed by
      `CONFIG SET <setting> <value>`.

      Given the cluster under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
