Feature: Negative caching: a missing row costs the origin one call
  A key that the origin does not have is a miss at every read (cache penetration). A crawler with invented names,
  or one deleted article that many pages link to, then reaches the database as if there were no cache.

  Background:
    Given an origin that takes 20 milliseconds

  Rule: A miss of the origin is remembered for a short time, the negative ttl

    @cache-001
    Scenario: 40 readers of a missing row cost the origin one call
      Given a look-aside cache in front of the origin
        | SETTING      | VALUE      |
        | negative ttl | 30 seconds |
      When 20 readers in threads read "user:1" at once
      And 20 readers in threads read "user:1" at once
      Then every reader got nothing
      And the origin was asked exactly once

    @cache-002
    Scenario: an invalidation ends the negative ttl of a row that is created
      Given a look-aside cache in front of the origin
        | SETTING      | VALUE      |
        | negative ttl | 30 seconds |
      When "user:1" is read once
      Then every reader got nothing
      When the origin changes "user:1" to "qiross"
      And the value of "user:1" is invalidated
      And 5 readers in threads read "user:1" at once
      Then every reader got "qiross"

    @cache-003
    Scenario: without an invalidation a new row is seen when its negative ttl is over
      Given a look-aside cache in front of the origin
        | SETTING      | VALUE            |
        | negative ttl | 200 milliseconds |
      When "user:1" is read once
      And the origin changes "user:1" to "qiross"
      Then the look-aside cache reads "qiross" from "user:1" within 1 second

    @cache-004
    Scenario: without a negative ttl each read of a missing row asks the origin
      Given a look-aside cache in front of the origin
      When "user:1" is read twice
      Then every reader got nothing
      And the origin was asked exactly twice
