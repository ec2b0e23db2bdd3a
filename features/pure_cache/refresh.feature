Feature: Values end one by one, and those in use do not end at all
  What was cached together expires together, and a value that everybody reads leaves a hole when it expires.
  Ttls that differ a little, and a refresh shortly before the end, take both cliffs away.

  Rule: The ttls of a batch are spread over a window

    @cache-071
    Scenario: a batch that was cached at once does not expire at once
      Given an origin that takes 0 milliseconds
      And a cache in front of it that keeps values for 60 seconds
      And its ttls are up to 20 % shorter
      When 300 keys are cached at once
      Then each of them has 48 to 60 seconds to live
      And at most 20 % of them expire in the same tenth of that window

  Rule: A value is refreshed before it expires, the likelier the nearer its end

    @cache-072
    Scenario: how likely a read refreshes
      Counted in what the computation costs: a value that took 1 second is refreshed by every third read that
      comes 1 second before its end, and by hardly any that comes 5 seconds before.

      Then of 20000 reads this share would refresh the value
        | COSTS LEFT | SHARE       |
        | 0          | 100 to 100  |
        | 1          | 35 to 39    |
        | 2          | 12 to 15    |
        | 5          | 0.3 to 1.1  |
        | 20         | 0 to 0      |

    @cache-073 @core @waits
    Scenario: a key that is read all the time is never missing
      By so many readers it is refreshed about five times the origin's time before its end, which leaves four times
      that for whatever holds up the one who refreshes.

      Given an origin that takes 300 milliseconds
      And it holds "qiross" as "user:1"
      And a cache in front of it that keeps values for 2 seconds
      And it refreshes values before they expire
      When 4 readers ask for "user:1" all the time for 2.5 seconds
      Then they all got "qiross"
      And "user:1" was there all the time
      And the origin was asked between 2 and 12 times

    @cache-074
    Scenario: a refresh that fails costs nobody anything
      Given an origin that takes 0 milliseconds
      And it holds "qiross" as "user:1"
      And a cache in front of it that keeps values for 60 seconds
      When a reader asks for "user:1"
      Given the origin fails
      And the value of "user:1" is due
      When 5 readers in threads ask for "user:1" at once
      Then they all got "qiross"
      And the origin was asked exactly 2 times
