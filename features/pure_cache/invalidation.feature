Feature: After a change nobody reads what was true before
  "Change the row, delete the key" has a hole: a reader that read the row before the change may store it after
  the deletion, and then the old value stays until its ttl is over.

  Background:
    Given an origin that takes 0 milliseconds
    And it holds "old" as "user:1"
    And a cache in front of it that keeps values for 60 seconds

  Rule: What was read before a change is not stored after it

    @cache-050 @core
    Scenario Outline: a reader that is late with an old value does not store it, with <SPELLING>
      Given it compares and sets with <SPELLING>
      And a reader of "user:1" has asked the origin and not stored the answer yet
      When the origin gets "new" as "user:1"
      And "user:1" is invalidated
      And that reader goes on
      Then it got "old"
      When 5 readers in threads ask for "user:1" at once
      Then they all got "new"

      Examples:
        | SPELLING            |
        | the engine's own    |
        | a script            |

    @cache-051
    Scenario: nor does one that refreshes a value before its end
      When a reader asks for "user:1"
      Given the value of "user:1" is due
      And a reader of "user:1" has asked the origin and not stored the answer yet
      When the origin gets "new" as "user:1"
      And "user:1" is invalidated
      And that reader goes on
      And 5 readers in threads ask for "user:1" at once
      Then they all got "new"

  Rule: In whatever order readers, writers and the clock take their steps, a change is seen

    @cache-052
    Scenario Outline: no order of steps shows a stale value, with <SPELLING>
      Three readers, a writer that changes and invalidates, and keys that expire at any moment take turns after
      each single command. A reader that begins after an invalidation must not get what was true before it.

      Given it compares and sets with <SPELLING>
      Then in 80 orders of steps no reader gets a stale value

      Examples:
        | SPELLING            |
        | the engine's own    |
        | a script            |

    @cache-053
    Scenario: while threads read and write, a change is seen at once
      Then of 60 changes exactly 0 are seen late by 8 threads that read all the time
