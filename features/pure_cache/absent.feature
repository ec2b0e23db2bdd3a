Feature: What does not exist is asked for once, too
  A key that the origin does not have is a miss for ever. A crawler with invented names, or one deleted article
  that many pages link to, then goes through the cache as if there were none.

  Background:
    Given an origin that takes 20 milliseconds
    And a cache in front of it that keeps values for 60 seconds

  Rule: A miss of the origin is remembered, shortly

    @cache-001
    Scenario: many readers of what does not exist ask the origin once
      Given it remembers for 30 seconds what does not exist
      When 20 readers in threads ask for "user:1" at once
      And 20 readers in threads ask for "user:1" at once
      Then they all got nothing
      And the origin was asked exactly 1 times

    @cache-002
    Scenario: what is created is seen at once
      Given it remembers for 30 seconds what does not exist
      When a reader asks for "user:1"
      Then they all got nothing
      When the origin gets "qiross" as "user:1"
      And "user:1" is invalidated
      And 5 readers in threads ask for "user:1" at once
      Then they all got "qiross"

    @cache-003
    Scenario: without a word from the creator it is seen when the time is over
      Given it remembers for 200 milliseconds what does not exist
      When a reader asks for "user:1"
      And the origin gets "qiross" as "user:1"
      Then a reader of "user:1" gets "qiross" within 1 second

    @cache-004
    Scenario: it is not remembered unless that was asked for
      When a reader asks for "user:1" 2 times, one after another
      Then they all got nothing
      And the origin was asked exactly 2 times
