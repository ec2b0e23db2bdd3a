@disruptive
Feature: Eviction: a full cache makes room, and keeps the keys that are used
  A full cache is no incident: it is the working state, and the eviction policy decides how often a read hits. The
  wrong policy refuses writes, or evicts settings that were never meant to go.

  Rule: maxmemory is kept, and no write is refused

    @cache-054
    Scenario: a flood of writes stays within maxmemory
      Given an isolated cache
        | SETTING          | VALUE       |
        | maxmemory        | 8mb         |
        | maxmemory-policy | allkeys-lru |
      When 20,000 keys "flood" are written
      And "flood:19999" is read once
      And "flood:20000" is read once
      Then exactly 0 writes were refused
      And the cache has at most 105 % of maxmemory in use
      And the cache has at least 1 evicted key
      And the cache has exactly 1 read hit
      And the cache has exactly 1 read miss

  Rule: Keys in use stay

    @cache-055
    Scenario: LRU keeps the keys that were read lately
      The clock of LRU ticks in seconds: keys that are used within one of them count as equally recent. A benchmark that
      writes and reads at once sees LRU fail.

      Given an isolated cache
        | SETTING           | VALUE       |
        | maxmemory         | 8mb         |
        | maxmemory-policy  | allkeys-lru |
        | maxmemory-samples | 10          |
      When 100 keys "hot" are written
      And 5,000 keys "cold" are written
      And 2 seconds have passed
      And 100 keys "hot" are read
      And 4,500 keys "flood" are written
      Then exactly 0 writes were refused
      And at least 90 keys "hot" are left

    @cache-056
    Scenario: LFU keeps the keys that are read often
      No pause is needed: the frequency counts, not the moment.

      Given an isolated cache
        | SETTING           | VALUE       |
        | maxmemory         | 8mb         |
        | maxmemory-policy  | allkeys-lfu |
        | maxmemory-samples | 10          |
      When 100 keys "hot" are written
      And 100 keys "hot" are read
        | OPTION | VALUE |
        | times  | 20    |
      And 12,000 keys "flood" are written
      Then exactly 0 writes were refused
      And at least 90 keys "hot" are left

  Rule: The volatile policies evict only keys with a ttl

    @cache-057
    Scenario Outline: <POLICY> never evicts a key without a ttl
      Given an isolated cache
        | SETTING          | VALUE    |
        | maxmemory        | 8mb      |
        | maxmemory-policy | <POLICY> |
      When 50 keys "settings" are written
        | OPTION | VALUE |
        | ttl    | none  |
      And 10,000 keys "session" are written
      Then exactly 50 keys "settings" are left
      And at most 9000 keys "session" are left

      Examples:
        | POLICY          |
        | volatile-lru    |
        | volatile-lfu    |
        | volatile-ttl    |
        | volatile-random |

    @cache-058
    Scenario: volatile-ttl evicts first the keys that would expire first
      Redict 7.3 has room for 6,600 of these keys, Redis 8.2 for 7,000.

      Given an isolated cache
        | SETTING           | VALUE        |
        | maxmemory         | 8mb          |
        | maxmemory-policy  | volatile-ttl |
        | maxmemory-samples | 10           |
      When 1,000 keys "late" are written
        | OPTION | VALUE          |
        | ttl    | 100000 seconds |
      And 3,000 keys "soon" are written
      And 5,000 keys "flood" are written
        | OPTION | VALUE |
        | ttl    | none  |
      Then at least 990 keys "late" are left
      And at most 2500 keys "soon" are left

  Rule: Without a key to evict, writes are refused and reads are served

    @cache-059
    Scenario Outline: <POLICY> refuses writes with an error while no key has a ttl
      Given an isolated cache
        | SETTING          | VALUE    |
        | maxmemory        | 8mb      |
        | maxmemory-policy | <POLICY> |
      When 10,000 keys "flood" are written
        | OPTION | VALUE |
        | ttl    | none  |
      Then at least 1000 writes were refused
      And the cache replies
        | COMMANDS       | REPLY |
        | STRLEN flood:0 | 1000  |

      Examples:
        | POLICY       |
        | volatile-lru |
        | noeviction   |

  Rule: A pure cache keeps nothing on disk

    @cache-061
    Scenario: after a restart the cache is empty, and serves within 5 seconds
      Given an isolated cache
      When 1,000 keys "session" are written
      And the cache is killed
      And the cache is started
      Then the cache is ready within 5 seconds
      And the cache has exactly 0 keys
      And the cache has exactly 0 files on disk
