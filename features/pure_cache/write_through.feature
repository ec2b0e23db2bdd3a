Feature: Write-through and write-behind: writes reach cache and origin in order
  Write-through saves the miss after each change, unless two writers overtake each other on the way to the cache.
  Write-behind replies before the origin has the write: a crash of the wrong server loses writes that users saw succeed.

  Rule: The newest version wins, in every order of arrival

    @cache-088 @core
    Scenario: a written record is read at once
      Remedy: repeat the run on the server's address, without the proxy or balancer. If it is accepted there, mend the
      proxy; else replace the server.

      Given a write-through cache in front of the origin
      When these records are written
        | KEY    | VALUE  | VERSION |
        | user:1 | qiross | 1       |
        | user:1 | anna   | 2       |
      Then the write-through cache reads "anna" from "user:1"

    @cache-089
    Scenario: a writer that was overtaken does not undo the newer value
      Given a write-through cache in front of the origin
      When these records are written
        | KEY    | VALUE  | VERSION |
        | user:1 | anna   | 2       |
        | user:1 | qiross | 1       |
      Then the write-through cache reads "anna" from "user:1"
      And the cache replies
        | COMMANDS    | REPLY               |
        | PTTL user:1 | between 1 and 60000 |

    @cache-090
    Scenario: after 200 writes of 8 writers at once the cache holds the newest record
      Given a write-through cache in front of the origin
      Then "the cache holds the newest version" holds for 200 writes

    @cache-091
    Scenario: a record that the origin refuses is never read
      Given a write-through cache in front of the origin
      And the write-through cache holds "qiross" as "user:1"
      When the origin is stopped
      And these records are written
        | KEY    | VALUE |
        | user:1 | wrong |
      Then the write failed with "the origin is stopped"
      And the write-through cache reads "qiross" from "user:1"

    @cache-092 @disruptive
    Scenario: a record is saved while the cache is dead
      Given an isolated cache
      And a write-through cache in front of the origin
      And the write-through cache holds "before" as "user:1"
      When the cache is killed
      And these records are written
        | KEY    | VALUE |
        | user:1 | after |
      Then the origin reads "after" from "user:1"
      And exactly 1 write was not cached

  @disruptive
  Rule: Write-behind keeps the order, and a write that fails stays in the queue

    @cache-093
    Scenario: 200 queued writes reach the origin in their order
      Given an isolated broker
      And a write-behind cache in front of the origin
      When 200 writes are queued
      And the write-behind cache is drained
      Then exactly 200 writes were saved in order
      And the write-behind cache has exactly 0 unsaved writes

    @cache-094
    Scenario: a write that fails holds back the writes behind it
      The writes behind it may change the same record: all of them reach the origin later, in their order.

      Given an isolated broker
      And a write-behind cache in front of the origin
      When 20 writes are queued
      And the origin is stopped
        | OPTION        | VALUE |
        | writes before | 7     |
      And the write-behind cache is drained
      Then the drain failed with "the origin is stopped"
      And exactly 7 writes were saved in order
      When the origin is started
      And the write-behind cache is drained
      Then exactly 20 writes were saved in order
      And the write-behind cache has exactly 0 unsaved writes

    @cache-095
    Scenario: two processes that drain at once do not mix the order
      Given an isolated broker
      And a write-behind cache in front of the origin
      When 20 writes are queued
      Then "one process drains the queue at a time" holds for 20 writes

    @cache-096
    Scenario: queued writes outlive a crash of a server with an append-only file
      Given an isolated broker
        | SETTING     | VALUE  |
        | appendfsync | always |
      And a write-behind cache in front of the origin
      When 20 writes are queued
      And the broker is killed
      And the broker is started
      And the write-behind cache is drained
      Then exactly 20 writes were saved in order
      And the write-behind cache has exactly 0 unsaved writes

    @cache-097 @known_limit
    Scenario: a crash of a pure cache loses the queued writes
      Users saw these writes succeed. This is why a pure cache is no place for write-behind.

      Given an isolated cache
      And a write-behind cache in front of the origin
      When 20 writes are queued
      And the cache is killed
      And the cache is started
      Then the write-behind cache has exactly 0 unsaved writes
