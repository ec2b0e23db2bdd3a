@disruptive
Feature: Without its cache a service is slower, not down
  A cache is there to be lost. A service that waits for it, or fails with it, has made it a second database,
  with the first one's importance and none of its guarantees.

  Background:
    Given an origin that takes 20 milliseconds
    And it holds "qiross" as "user:1"
    And a cache on a server of its own in front of it, asked for at most 200 milliseconds

  Rule: Whatever is wrong with the cache, readers get their answer from the origin, in time

    @cache-036
    Scenario Outline: readers are served while the server <STATE>
      The first reads find out; after that the breaker is open and a read costs what the origin costs.

      When a reader asks for "user:1"
      And the cache's server <STATE>
      And a reader asks for "user:1" 30 times, one after another
      Then they all got "qiross"
      And the slowest of them waited within 1 second
      And half of the last 20 of them waited within 60 milliseconds
      When the cache's server is well again
      Then the readers of "user:1" hit the cache again within 3 seconds

      Examples:
        | STATE                      |
        | is dead                    |
        | hangs                      |
        | answers after 2 seconds    |
        | accepts no connection      |

    @cache-037
    Scenario: a crowd is served in time, too
      When the cache's server hangs
      And 50 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the slowest of them waited within 3 seconds

    @cache-038
    Scenario: asyncio readers are served while the server is dead
      When the cache's server is dead
      And 50 readers in tasks ask for "user:1" at once
      Then they all got "qiross"

  Rule: A cache that refuses writes is still read

    @cache-039
    Scenario: a full server that evicts nothing answers hits, and misses go to the origin
      When a reader asks for "user:1"
      And the cache's server is full and evicts nothing
      Then "user:1" can be read without the origin
      When the origin gets "anna" as "user:2"
      And a reader asks for "user:2" 5 times, one after another
      Then they all got "anna"
      And the origin was asked exactly 6 times
      And "user:1" can be read without the origin

  Rule: A dead cache costs no time-out a call

    @cache-040
    Scenario: the breaker lets a call try now and then
      When the cache's server hangs
      And a reader asks for "user:1" 30 times, one after another
      Then at most 10 of them waited for the cache

  Rule: Connections are bounded

    @cache-041
    Scenario: 100 readers share 16 connections
      Given at most 16 connections to it, for which a reader waits
      When 100 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 1 times
      And the server has counted at most 17 connections

    @cache-042
    Scenario: a server that has no connection left costs its readers only time
      A reader that cannot store what it computed leaves a lease behind; nobody waits for that for long.

      Given its server takes at most 10 clients
      And a cache in front of it that waits at most 500 milliseconds for others
      When 60 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the slowest of them waited within 3 seconds
