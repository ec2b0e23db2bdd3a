@audit
Feature: The cache is set up as a cache
  A server that was installed with its defaults has no memory limit, evicts nothing and writes its data
  to disk. As a cache it works for weeks and then takes its machine down. None of this needs traffic to be
  wrong, so it is asked of the servers before the first user comes. `practices.toml` changes a bound:
  `[bounds]`, then a line like `maxclients = "at least 500"`.

  @core
  Rule: Memory is limited, and old entries make room for new ones

    @cache-005
    Scenario: a memory limit is set
      Given the servers of the cache
      Then the setting "maxmemory" is at least 1

    @cache-006
    Scenario: the machine has as much memory as the limit allows
      A limit above it is none. A fifth is for what the limit does not count: buffers, fragmentation, the system.

      Given the servers of the cache
      Then the field "maxmemory" is at most 80 % of the field "total_system_memory"

    @cache-007
    Scenario: any entry may be evicted
      With noeviction a full cache refuses every write. The volatile policies do the same as soon as
      enough keys have no ttl.

      Given the servers of the cache
      Then the setting "maxmemory-policy" is one of "allkeys-lru, allkeys-lfu, allkeys-random, allkeys-lrm"

  Rule: A cache keeps nothing on disk

    @cache-008
    Scenario: no snapshots and no log
      A snapshot forks the server and may double its memory; the log makes each write wait for a disk.
      Neither is worth it for data that can be computed again.

      Given the servers of the cache
      Then the setting "save" is one of "nothing"
      And the setting "appendonly" is one of "no"

  Rule: There is room for every client

    @cache-009
    Scenario: connections are not refused
      One process of a service often has 10 to 50 connections; a thousand are few processes.

      Given the servers of the cache
      Then the setting "maxclients" is at least 1000
      And the field "connected_clients" is at most 80 % of the setting "maxclients"

    @cache-010
    Scenario: a slow subscriber cannot take the memory
      Given the servers of the cache
      Then the clients of class "pubsub" have bounded output buffers
      And the clients of class "replica" have bounded output buffers

  Rule: The software is mended when a hole is found

    @cache-011
    Scenario: the version still gets security fixes
      Redis itself mends 7.2 and later; Debian 12 mends its 7.0.15.

      Given the servers of the cache
      Then their version still gets security fixes
        | ENGINE | OLDEST |
        | redis  | 7.0    |
        | valkey | 7.2    |

  Rule: Whoever uses the cache cannot end or empty it

    @cache-012
    Scenario: dangerous commands are refused to the user of the application
      Given the servers of the cache
      Then their user may not run these commands
        | COMMAND                | DANGER                                     |
        | FLUSHALL               | one typing error empties it for everybody  |
        | CONFIG SET maxmemory 1 | its limit and policy can be changed        |
        | SHUTDOWN               | it can be ended                            |
        | DEBUG SLEEP 1          | it can be made to hang                     |
        | KEYS *                 | it reads every key and nobody else is served |
