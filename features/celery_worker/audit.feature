@audit
Feature: The broker has the settings of a broker
  A broker that evicts keys loses tasks silently, and one that writes nothing to disk loses them when it restarts.
  Celery notices neither, because the sender already has its OK. Both are settings, so the audit needs no traffic.
  `practices.toml` changes a bound.

  @core
  Rule: Tasks are never evicted

    @celery-001
    Scenario: the eviction policy of the broker spares tasks
      Queues have no ttl, so `noeviction` and the volatile policies leave them alone.
      Remedy: `CONFIG SET maxmemory-policy noeviction`.

      Given the broker under test
      Then the setting "maxmemory-policy" is one of "noeviction, volatile-lru, volatile-lfu, volatile-ttl, volatile-random, volatile-lrm"

    @celery-002
    Scenario: the broker has evicted no key since it started
      Remedy: `CONFIG SET maxmemory-policy noeviction` and `CONFIG SET maxmemory <bytes>`; then `CONFIG RESETSTAT`. Send
      the lost tasks again.

      Given the broker under test
      Then the field "evicted_keys" is exactly 0

  Rule: Locks, results and dead letters are not evicted either

    @celery-127
    Scenario: the broker evicts no key with a ttl
      Locks of `once`, counters of chords, results and dead letters have a ttl. A volatile policy takes them first: a
      task runs twice, and a chord never ends. For a broker without such keys, `practices.toml` allows the policy.
      Remedy: `CONFIG SET maxmemory-policy noeviction`; or keep such keys on a separate server.

      Given the broker under test
      Then the setting "maxmemory-policy" is one of "noeviction"

  Rule: The tasks of a dead worker are given to another one

    @celery-170
    Scenario: the lock of the workers that give tasks back has a ttl
      Workers take turns by a lock. An old worker that is killed before it has set the ttl leaves the lock for ever. Then
      no task of a dead worker is given back any more (kombu#1190).
      Remedy: `DEL unacked_mutex`, with the `global_keyprefix` before it; and a current kombu in every worker.

      Given the broker under test
      Then there are no locks without ttl

  @core
  Rule: The broker keeps what is written to it

    @celery-155
    Scenario: the server of the broker is a primary
      A replica refuses tasks. A writable one takes them, and loses them all when it next copies its primary. A balancer
      before both sends some connections to the replica.
      Remedy: put the primary's address into the URL, not that of a balancer before all servers; after a failover that
      left no primary, `REPLICAOF NO ONE`.

      Given the broker under test
      Then there are no shared addresses
      And the field "role" is one of "master, active-replica"

  Rule: Acknowledged tasks survive a restart of the broker

    @celery-003
    Scenario: the broker logs every write and forces the log to disk each second
      Remedy: `CONFIG SET appendonly yes` and `CONFIG SET appendfsync everysec`.

      Given the broker under test
      Then the setting "appendonly" is one of "yes"
      And the setting "appendfsync" is one of "everysec, always"

    @celery-004
    Scenario: the broker can write its append-only file and its snapshots
      A log that cannot be rewritten grows until the disk is full.
      Remedy: read the error in the server's log, free its disk or mend the folder's rights; then `BGREWRITEAOF` and
      `BGSAVE`.

      Given the broker under test
      Then the field "aof_last_write_status" is one of "ok"
      And the field "aof_last_bgrewrite_status" is one of "ok"
      And the field "rdb_last_bgsave_status" is one of "ok"

    @celery-005
    Scenario: the append-only file is forced to disk also during a rewrite
      With this setting at yes, a power cut during a rewrite costs up to 30 seconds of tasks instead of one.
      Remedy: `CONFIG SET no-appendfsync-on-rewrite no`.

      Given the broker under test
      Then the setting "no-appendfsync-on-rewrite" is one of "no"

  Rule: The broker has room for tasks and workers

    @celery-006
    Scenario: the broker has a memory limit, and its machine has that memory
      Without a limit the machine runs out of memory first, and the kernel kills the server with all its tasks.
      Remedy: `CONFIG SET maxmemory <bytes>` with at most 80 % of the machine's memory.

      Given the broker under test
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @celery-007
    Scenario: the memory of the broker is at most 80 % full
      A full broker refuses new tasks, and workers cannot even drain it (celery#5716).
      Remedy: start more workers, or `CONFIG SET maxmemory <bytes>`.

      Given the broker under test
      Then the field "used_memory" is at most 80 % of the field "maxmemory"

    @celery-008
    Scenario: the broker has connections left for more workers
      A worker holds about ten connections, and each process of its pool two more.
      Remedy: `CONFIG SET maxclients 10000`.

      Given the broker under test
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"

  Rule: Dead connections are closed, and idle ones are kept

    @celery-009
    Scenario: the broker probes idle connections with TCP keepalive
      Remedy: `CONFIG SET tcp-keepalive 60`.

      Given the broker under test
      Then the setting "tcp-keepalive" is between 1 and 300

    @celery-010
    Scenario: the broker does not close the connections of idle workers
      A worker that waits for tasks sends nothing. A server with an idle timeout makes it reconnect again and again.
      Remedy: `CONFIG SET timeout 0`.

      Given the broker under test
      Then the setting "timeout" is one of "0"

  Rule: The broker runs a version with security fixes

    @celery-011
    Scenario: the version of the broker still gets security fixes
      `src/redis_practices/known_holes.toml` has the first version of each line without known holes.
      Remedy: upgrade to the version in the failure, replicas first; name a mended package in practices.toml
      (docs/acceptance.md). Managed services: apply the service update. A hole that a setting opens is closed by
      `CONFIG SET <setting> <value>`.

      Given the broker under test
      Then the version of every server gets security fixes
        | ENGINE | BACKPORTS |
        | redis  | nothing   |
        | valkey | nothing   |
