Feature: Any number of readers costs the origin one call
  The moment a popular key expires, everybody misses at once. If each of them asks the origin, the cache has
  protected it all day only to overwhelm it now.

  Background:
    Given an origin that takes 100 milliseconds
    And it holds "qiross" as "user:1"
    And a cache in front of it that keeps values for 60 seconds

  Rule: Of those who miss at once, one computes and the others wait for it

    @cache-016 @core
    Scenario Outline: 100 concurrent misses make one origin call, in <WHERE>
      When 100 readers in <WHERE> ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 1 times

      Examples:
        | WHERE       |
        | threads     |
        | tasks       |
        | 2 processes |

    @cache-017
    Scenario: a hit asks the origin nothing
      When a reader asks for "user:1"
      And 20 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 1 times

  Rule: Whoever dies while computing blocks nobody for long

    @cache-018
    Scenario: after the lease another computes
      Given somebody takes the lease of "user:1" for 300 milliseconds and dies
      When 20 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 1 times
      And the slowest of them waited within 1.5 seconds

    @cache-019
    Scenario: nobody waits longer than its patience
      Whoever has lost its patience asks the origin itself: slow is better than never.

      Given a cache in front of it that waits at most 200 milliseconds for others
      And somebody takes the lease of "user:1" for 60 seconds and dies
      When 5 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 5 times
      And the slowest of them waited within 1.5 seconds

  Rule: An origin that fails is told to those who ask, and to nobody later

    @cache-020
    Scenario: an error is passed on and the next reader tries again
      Given the origin fails
      Then a reader of "user:1" gets the origin's error
      When the origin works again
      And a reader asks for "user:1"
      Then they all got "qiross"
      And the slowest of them waited within 1.5 seconds

  Rule: What does not decode is a miss, and is replaced

    @cache-021
    Scenario Outline: <WHAT> is replaced by what the origin holds
      Given "user:1" holds the bytes <BYTES>
      When 5 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 1 times
      And "user:1" can be read without the origin

      Examples:
        | WHAT                     | BYTES                |
        | half a value             | ["qir                |
        | another program's JSON   | {"name": "someone"}  |
        | a pickle                 | \x80\x04\x95\xff\x00 |
        | nothing at all           | (none)               |
