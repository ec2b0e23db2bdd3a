@audit
Feature: The server of Celery's results has the settings of a result backend
  Results may live on another server than tasks. Each has a ttl, so this server needs no disk, and a restart may lose
  what is not read yet. But a chord waits for ever if the server gives up its counter.

  @core
  Rule: A result stays until it is read or expires

    @results-001
    Scenario: the eviction policy of the result backend is not that of a cache
      Counters of chords, and what `once` has done, lie beside the results. A volatile policy gives up what ends first.
      Remedy: `CONFIG SET maxmemory-policy noeviction`.

      Given the backend under test
      Then the setting "maxmemory-policy" is one of "noeviction, volatile-ttl, volatile-lru, volatile-lfu, volatile-random, volatile-lrm"

    @results-002
    Scenario: the result backend has evicted no key since it started
      Remedy: raise maxmemory or shorten result_expires, then `CONFIG RESETSTAT`.

      Given the backend under test
      Then the field "evicted_keys" is exactly 0

    @results-003
    Scenario: the server of the result backend is a primary
      A replica refuses results. A writable one takes them, and loses them all when it next copies its primary. A
      balancer before both sends some connections to the replica.
      Remedy: put the primary's address into the URL, not that of a balancer before all servers; after a failover that
      left no primary, `REPLICAOF NO ONE`.

      Given the backend under test
      Then there are no shared addresses
      And the field "role" is one of "master, active-replica"

  @core
  Rule: The result backend has room for results and clients

    @results-004
    Scenario: the result backend has a memory limit, and its machine has that memory
      Remedy: `CONFIG SET maxmemory <bytes>`, at most 80 % of the machine's memory.

      Given the backend under test
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @results-005
    Scenario: the memory of the result backend is at most 80 % full
      A full backend refuses results, and the task fails although its work is done.
      Remedy: `CONFIG SET maxmemory <bytes>`; or shorten result_expires, or ignore_result for tasks without a reader.

      Given the backend under test
      Then the field "used_memory" is at most 80 % of the field "maxmemory"

    @results-006
    Scenario: the result backend has connections left for more senders
      Each process of a worker's pool and each waiting sender holds connections.
      Remedy: `CONFIG SET maxclients 10000`; a file limit (ulimit -n) may be lower.

      Given the backend under test
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"
      And the field "rejected_connections" is at most 1 % of the field "total_connections_received"

    @results-007
    Scenario: the result backend's buffers have a limit, and room for a large result
      Each waiting sender subscribes. One that hangs fills the memory of the results, unless its buffer has a limit. A
      replica with too short a backlog copies all data after each interruption.
      Remedy:
      `CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60 replica 256mb 64mb 60"` and
      `CONFIG SET repl-backlog-size 64mb`.

      Given the backend under test
      Then the clients of class "pubsub" have bounded output buffers
      And there are no small buffers
      And there are no short backlogs

  Rule: Dead connections are noticed

    @results-008
    Scenario: the result backend probes idle connections with TCP keepalive
      Remedy: `CONFIG SET tcp-keepalive 60`.

      Given the backend under test
      Then the setting "tcp-keepalive" is between 1 and 300

  Rule: The result backend runs a version with security fixes

    @results-009
    Scenario: the version of the result backend still gets security fixes
      `src/redis_practices/known_holes.toml` has the first version of each line without known holes.
      Remedy: upgrade to the version in the failure, replicas first; name a mended package in practices.toml
      (docs/acceptance.md). Managed services: apply the service update. A hole that a setting opens is closed by
      `CONFIG SET <setting> <value>`.

      Given the backend under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
