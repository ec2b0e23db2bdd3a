@audit
Feature: The cache has the settings of a cache
  A server with default settings has no memory limit, evicts nothing and writes its data to disk. It works as a cache
  for weeks, and then its machine runs out of memory. The audit reads settings alone, so it finds this before the
  first user comes. `practices.toml` changes a bound: `[bounds]`, then a line like `maxclients = "at least 500"`.

  @core
  Rule: Memory is limited, and old entries make room for new ones

    @cache-005
    Scenario: the cache has a memory limit
      Remedy: `CONFIG SET maxmemory <bytes>` with at most 80 % of the machine's memory.

      Given the cache under test
      Then the setting "maxmemory" is at least 1

    @cache-006
    Scenario: the machine of the cache has the memory that the limit allows
      A limit above the machine's memory limits nothing. A fifth stays free for buffers, fragmentation and the system,
      which the limit does not count.
      Remedy: `CONFIG SET maxmemory <bytes>` with at most 80 % of the machine's memory; or a larger machine.

      Given the cache under test
      Then the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @cache-007
    Scenario: the eviction policy of the cache may evict any entry
      With `noeviction` a full cache refuses every write. The volatile policies do the same when enough keys have no ttl.
      Remedy: `CONFIG SET maxmemory-policy allkeys-lru`.

      Given the cache under test
      Then the setting "maxmemory-policy" is one of "allkeys-lru, allkeys-lfu, allkeys-random, allkeys-lrm"

  @core
  Rule: The cache accepts what is written to it

    @cache-126
    Scenario: the server of the cache is a primary
      A replica refuses writes. A writable one takes them, and loses them all when it next copies its primary. A
      balancer before both sends some connections to the replica.
      Remedy: put the primary's address into the URL, not that of a balancer before all servers; after a failover that
      left no primary, `REPLICAOF NO ONE`.

      Given the cache under test
      Then there are no shared addresses
      And the field "role" is one of "master, active-replica"

  Rule: A cache keeps nothing on disk

    @cache-008
    Scenario: the cache writes neither snapshots nor an append-only file
      A snapshot forks the server and may double its memory. An append-only file may make writes wait for a disk.
      Data that can be computed again is worth neither.
      Remedy: `CONFIG SET save ""` and `CONFIG SET appendonly no`.

      Given the cache under test
      Then the setting "save" is one of "nothing"
      And the setting "appendonly" is one of "no"

  Rule: The cache has room for every client

    @cache-009
    Scenario: the cache has connections left for more clients
      One process of a service often holds 10 to 50 connections, so a thousand serve few processes.
      Remedy: `CONFIG SET maxclients 10000`, then `CONFIG RESETSTAT`; or smaller pools of connections in the clients.

      Given the cache under test
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"

    @cache-010
    Scenario: a slow subscriber cannot fill the memory of the cache
      Remedy: `CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60 replica 256mb 64mb 60"`.

      Given the cache under test
      Then the clients of class "pubsub" have bounded output buffers
      And the clients of class "replica" have bounded output buffers

  Rule: The cache runs a version with security fixes

    @cache-011
    Scenario: the version of the cache still gets security fixes
      `src/redis_practices/known_holes.toml` has the first version of each line without known holes.
      Remedy: upgrade to the version in the failure, replicas first; name a mended package in practices.toml
      (docs/acceptance.md). Managed services: apply the service update. A hole that a setting opens is closed by
      `CONFIG SET <setting> <value>`.

      Given the cache under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
