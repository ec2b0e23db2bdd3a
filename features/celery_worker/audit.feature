@audit
Feature: The broker is set up as a broker
  A broker that evicts loses tasks without a word, and one that keeps nothing on disk loses them when it
  restarts. Celery sees neither: its senders got their answer. Both are settings, and can be read.
  `practices.toml` changes a bound.

  @core
  Rule: A task is never evicted

    @celery-001
    Scenario: the policy evicts nothing that is a task
      Queues have no ttl, so the volatile policies leave them alone.

      Given the servers of the broker
      Then the setting "maxmemory-policy" is one of "noeviction, volatile-lru, volatile-lfu, volatile-ttl, volatile-random, volatile-lrm"

    @celery-002
    Scenario: nothing was ever evicted
      Given the servers of the broker
      Then the field "evicted_keys" is exactly 0

  Rule: What was acknowledged survives a restart

    @celery-003
    Scenario: every write is logged, and the log is written at least once a second
      Given the servers of the broker
      Then the setting "appendonly" is one of "yes"
      And the setting "appendfsync" is one of "everysec, always"

    @celery-004
    Scenario: the log can be written
      Given the servers of the broker
      Then the field "aof_last_write_status" is one of "ok"
      And the field "rdb_last_bgsave_status" is one of "ok"

    @celery-005
    Scenario: the log is forced to disk also while it is rewritten
      With this set, a power cut during a rewrite costs up to 30 seconds of tasks instead of one.

      Given the servers of the broker
      Then the setting "no-appendfsync-on-rewrite" is one of "no"

  Rule: There is room for tasks and workers

    @celery-006
    Scenario: a memory limit is set, and the machine has that much
      Without one the machine runs out first, and the kernel ends the server with every task that it holds.

      Given the servers of the broker
      Then the setting "maxmemory" is at least 1
      And the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @celery-007
    Scenario: the memory is not nearly full
      A full broker refuses tasks and cannot even be drained (celery#5716).

      Given the servers of the broker
      Then the field "used_memory" is at most 80 % of the field "maxmemory"

    @celery-008
    Scenario: connections are not refused
      A worker has about ten connections, each of its pool's processes two more.

      Given the servers of the broker
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"

  Rule: A connection that died in silence is noticed

    @celery-009
    Scenario: the server asks idle connections whether they live
      Given the servers of the broker
      Then the setting "tcp-keepalive" is between 1 and 300

    @celery-010
    Scenario: idle workers are not cut off
      A worker that waits for tasks says nothing. A server that closes idle connections makes it start again and again.

      Given the servers of the broker
      Then the setting "timeout" is one of "0"

  Rule: The software is mended when a hole is found

    @celery-011
    Scenario: the version still gets security fixes
      Redis itself mends 7.2 and later; Debian 12 mends its 7.0.15.

      Given the servers of the broker
      Then their version still gets security fixes
        | ENGINE | OLDEST |
        | redis  | 7.0    |
        | valkey | 7.2    |
