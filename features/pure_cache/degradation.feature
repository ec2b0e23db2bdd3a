@disruptive
Feature: Graceful degradation: without its cache a service is slower, not down
  A cache may be lost at any moment. A service that waits for a dead cache, or fails with it, has made it a second
  database, without the guarantees of the first.

  Background:
    Given an origin that takes 20 milliseconds
    And the origin holds "qiross" as "user:1"
    And an isolated cache
    And a look-aside cache in front of the origin
      | SETTING       | VALUE            |
      | reply timeout | 200 milliseconds |

  Rule: While the cache fails, readers get the value from the origin in time

    @cache-036
    Scenario Outline: readers are served in time while the cache is <FAULT>
      The first reads find out. Then the circuit breaker is open, and a read costs as much as the origin.

      When "user:1" is read once
      And the cache is <FAULT>
      And "user:1" is read 30 times
      Then every reader got "qiross"
      And the measurements are
        | MEASUREMENT                 | BOUND                  |
        | slowest read                | within 1 second        |
        | median of the last 20 reads | within 60 milliseconds |
      When the cache is recovered
      Then the look-aside cache is ready within 3 seconds

      Examples:
        | FAULT                |
        | killed               |
        | paused               |
        | slowed               |
        | refusing connections |

    @cache-037
    Scenario: 50 readers in threads are served in time while the cache is paused
      When the cache is paused
      And 50 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the slowest read took at most 3 seconds

    @cache-038
    Scenario: 50 readers in asyncio tasks are served while the cache is dead
      When the cache is killed
      And 50 readers in tasks read "user:1" at once
      Then every reader got "qiross"

  Rule: A cache that refuses writes is still read

    @cache-039
    Scenario: a full cache that evicts nothing serves hits, and the origin serves misses
      When "user:1" is read once
      And the setting "maxmemory-policy" of the cache becomes "noeviction"
      And the setting "maxmemory" of the cache becomes "1"
      And "user:1" is read once
      Then every reader got "qiross"
      And the origin was asked exactly once
      When the origin changes "user:2" to "anna"
      And "user:2" is read 5 times
      Then every reader got "anna"
      And the origin was asked exactly 6 times

  Rule: Circuit breaker: a dead cache costs a timeout now and then, not one for each read

    @cache-040
    Scenario: at most a third of 30 reads wait for a paused cache
      When the cache is paused
      And "user:1" is read 30 times
      Then at most 10 reads were delayed

  Rule: Backpressure: the number of connections is bounded

    @cache-041
    Scenario: 100 readers share 16 connections
      Given a look-aside cache in front of the origin
        | SETTING     | VALUE |
        | connections | 16    |
      When 100 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly once
      And the cache has at most 17 connections

    @cache-042
    Scenario: 60 readers of a cache that takes 10 clients are served in time
      A reader without a connection cannot store its value and leaves its lease behind. The wait timeout bounds how
      long further readers wait for it.

      Given a look-aside cache in front of the origin
        | SETTING       | VALUE            |
        | reply timeout | 200 milliseconds |
        | wait timeout  | 500 milliseconds |
      When the setting "maxclients" of the cache becomes "10"
      And 60 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the slowest read took at most 3 seconds
