Feature: Cache stampede: any number of readers costs the origin one call
  When a popular key expires, all its readers miss at the same moment: a cache stampede, or thundering herd. Without
  single flight each of them asks the origin, and the cache that protected the database all day overwhelms it.

  Background:
    Given an origin that takes 100 milliseconds
    And the origin holds "qiross" as "user:1"
    And a look-aside cache in front of the origin

  Rule: Single flight: one reader computes the value, all other readers wait
    Remedy: repeat the run on the server's address, without the proxy or balancer. If it is accepted there, mend the
    proxy; else replace the server.

    @cache-016 @core
    Scenario Outline: 100 concurrent misses in <WHERE> cost the origin one call
      When 100 readers in <WHERE> read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly once

      Examples:
        | WHERE     |
        | threads   |
        | tasks     |
        | processes |

    @cache-017
    Scenario: a hit costs the origin no call
      When "user:1" is read once
      And 20 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly once

  Rule: The lease of a reader that dies ends, and the next reader computes

    @cache-018
    Scenario: 20 readers get the value although the reader with the lease was killed
      Given a look-aside cache in front of the origin
        | SETTING | VALUE            |
        | lease   | 800 milliseconds |
      When a reader of "user:1" is killed before it asks the origin
      And 20 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly once
      And the slowest read took at most 2 seconds

    @cache-019
    Scenario: a reader that has waited for the wait timeout asks the origin itself
      A slow answer is better than none: the lease of the killed reader lasts for a minute.

      Given a look-aside cache in front of the origin
        | SETTING      | VALUE            |
        | lease        | 60 seconds       |
        | wait timeout | 200 milliseconds |
      When a reader of "user:1" is killed before it asks the origin
      And 5 readers in threads read "user:1" at once
      Then every reader got "qiross"
      And the origin was asked exactly 5 times
      And the slowest read took at most 1.5 seconds

  Rule: An error of the origin reaches its reader, and is not cached

    @cache-020
    Scenario: after an error of the origin the next reader asks again
      When the origin is stopped
      And "user:1" is read once
      Then the read failed with "the origin is stopped"
      When the origin is started
      And "user:1" is read once
      Then every reader got "qiross"
      And the slowest read took at most 1.5 seconds

  Rule: A value that cannot be decoded is a miss, and is replaced

    @cache-021
    Scenario Outline: <CONTENT> in the key is replaced by the value of the origin
      Given the look-aside cache holds "<BYTES>" as "user:1"
      When 5 readers in threads read "user:1" at once
      And "user:1" is read once
      Then every reader got "qiross"
      And the origin was asked exactly once

      Examples:
        | CONTENT                     | BYTES                |
        | half a value                | ["qir                |
        | the JSON of another program | {"name": "someone"}  |
        | a pickle                    | \x80\x04\x95\xff\x00 |
        | an empty text               | (empty)              |
