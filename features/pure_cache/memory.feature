@disruptive
Feature: A full cache makes room, and keeps what is used
  A cache is full for most of its life: that is its working state, and what it evicts then decides how often
  it is of use. Each scenario fills a small server of its own.

  Rule: The memory limit is honoured, and nobody is refused

    @cache-054
    Scenario: a flood of writes stays within the limit
      Given a server with a memory limit of 8 MB and the policy "allkeys-lru"
      When a flood of 20000 keys is written
      Then the memory in use is at most 105 % of the limit
      And the server says how many keys it evicted and how often a read hit

  Rule: What is in use stays

    @cache-055
    Scenario: what was read lately is kept by LRU
      Its clock ticks in seconds. What is written and read within one of them is equally recent, so a
      benchmark that does it all at once sees LRU fail.

      Given a server with a memory limit of 8 MB and the policy "allkeys-lru"
      When 100 keys "hot" are written
      And 5000 keys "cold" are written
      And the clock of the eviction has moved on
      And 100 keys "hot" are read 1 times
      And a flood of 4500 keys is written
      Then of 100 keys "hot" at least 90 are still there

    @cache-056
    Scenario: what is read often is kept by LFU
      It needs no pause: frequency counts, not the moment.

      Given a server with a memory limit of 8 MB and the policy "allkeys-lfu"
      When 100 keys "hot" are written
      And 100 keys "hot" are read 20 times
      And a flood of 12000 keys is written
      Then of 100 keys "hot" at least 90 are still there

  Rule: The volatile policies touch only keys with a ttl

    @cache-057
    Scenario Outline: <POLICY> never evicts a key without a ttl
      Given a server with a memory limit of 8 MB and the policy "<POLICY>"
      When 50 keys "settings" are written
      And 10000 keys "session" are written to live 1000 seconds and more
      Then of 50 keys "settings" exactly 50 are still there
      And of 10000 keys "session" at most 9000 are still there

      Examples:
        | POLICY          |
        | volatile-lru    |
        | volatile-lfu    |
        | volatile-ttl    |
        | volatile-random |

    @cache-058
    Scenario: volatile-ttl evicts first what would expire first
      How many keys there is room for differs from engine to engine: 6,600 of these in Redict 7.3, 7,000 in Redis 8.2.

      Given a server with a memory limit of 8 MB and the policy "volatile-ttl"
      When 1000 keys "late" are written to live 100000 seconds and more
      And 3000 keys "soon" are written to live 1000 seconds and more
      And a flood of 5000 keys is written
      Then of 1000 keys "late" at least 990 are still there
      And of 3000 keys "soon" at most 2500 are still there

    @cache-059
    Scenario: without a key that has a ttl they refuse like noeviction
      Given a server with a memory limit of 8 MB and the policy "volatile-lru"
      Then a flood of 10000 keys is written and at least 1000 of them refused

  Rule: noeviction refuses writes with a clear error

    @cache-060
    Scenario: writes are refused and reads go on
      Given a server with a memory limit of 8 MB and the policy "noeviction"
      Then a flood of 10000 keys is written and at least 1000 of them refused
      And reads are still answered

  Rule: A cache keeps nothing on disk

    @cache-061
    Scenario: after a restart it is empty, and there at once
      Given a server with a memory limit of 8 MB and the policy "allkeys-lru"
      When 1000 keys "session" are written
      And the server is killed and started again
      Then it is empty, and nothing was on disk; it answered within 5 seconds after its start
