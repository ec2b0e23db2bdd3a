Feature: Values expire one by one, and hot values are refreshed before they expire
  Values that were cached together expire together, and a value with many readers leaves a hole when it expires: both
  end in a cache stampede. Ttl jitter spreads the ends, and early refresh (XFetch) fills the hole before it opens.

  Rule: Jitter: the ttls of a batch are spread over a window

    @cache-071
    Scenario: 300 values that are cached at once do not expire at once
      Evenly spread, each tenth of the window has 10 % of the values.

      Given an origin that takes 0 milliseconds
      And a look-aside cache in front of the origin
        | SETTING | VALUE      |
        | ttl     | 60 seconds |
        | jitter  | 20 %       |
      When 300 keys "batch" are read
      Then the measurements are
        | MEASUREMENT                 | BOUND               |
        | shortest ttl                | at least 48 seconds |
        | longest ttl                 | within 60 seconds   |
        | values in the fullest tenth | at most 20 %        |

  Rule: Early refresh: a value is computed again before it expires

    @cache-073 @core @waits
    Scenario: a key that is read all the time is never missing
      With 4 readers, the refresh begins about 1.5 seconds before the end: five times what the origin takes. A refresh
      that is delayed has 1.2 seconds to spare.

      Given an origin that takes 300 milliseconds
      And the origin holds "qiross" as "user:1"
      And a look-aside cache in front of the origin
        | SETTING       | VALUE     |
        | ttl           | 2 seconds |
        | early refresh | 1         |
      When 4 readers in threads read "user:1" at once
        | OPTION    | VALUE       |
        | again for | 2.5 seconds |
      Then every reader got "qiross"
      And exactly 0 misses were seen
      And the origin was asked between 2 and 12 times

    @cache-074
    Scenario: a failed early refresh costs its readers nothing
      Given an origin that takes 0 milliseconds
      And the origin holds "qiross" as "user:1"
      And a look-aside cache in front of the origin
      When "user:1" is read once
      And the origin is stopped
      And the value of "user:1" is due for refresh
      And 5 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly twice
