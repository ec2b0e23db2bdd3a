Feature: Who changes the origin brings the new value along
  Write-through saves the miss after each change, if two writers cannot overtake each other on the way to the
  cache. Write-behind answers before the origin knows: what that costs when something fails should be known first.

  Rule: The newest version wins, whoever comes last

    @cache-088 @core
    Scenario: what was written is read at once
      Given records that have a version
      When the records are put into the cache in this order
        | KEY    | VALUE  | VERSION |
        | user:1 | qiross | 1       |
        | user:1 | anna   | 2       |
      Then the record "user:1" reads "anna"

    @cache-089
    Scenario: a writer that was overtaken does not undo the newer value
      Given records that have a version
      When the records are put into the cache in this order
        | KEY    | VALUE  | VERSION |
        | user:1 | anna   | 2       |
        | user:1 | qiross | 1       |
      Then the record "user:1" reads "anna"
      And the record "user:1" has a ttl

    @cache-090
    Scenario: eight writers at once leave what the origin holds
      Given records that have a version
      When 8 writers change the record "user:1" 25 times each
      Then the record "user:1" reads what the origin holds

    @cache-091
    Scenario: what the origin refuses is never read
      Given records that have a version
      When the records are put into the cache in this order
        | KEY    | VALUE  | VERSION |
        | user:1 | qiross | 1       |
      Then a write of "user:1" that the origin refuses leaves "qiross" in the cache

    @cache-092 @disruptive
    Scenario: a write is saved though the cache is down
      Given records that have a version, on a server of their own
      When their server is killed
      Then a write of "user:1" reaches the origin and says that it is not cached

  Rule: Write-behind keeps the order, and what fails waits

    @cache-093 @disruptive
    Scenario: writes reach the origin in their order
      Given a queue of writes on a server that keeps what it is told
      When 200 writes are made
      Then they reach the origin in their order, and none is left

    @cache-094 @disruptive
    Scenario: a write that fails holds back those behind it, and all come later in their order
      Given a queue of writes on a server that keeps what it is told
      When 20 writes are made
      And the origin refuses the write 7 once
      Then they reach the origin in their order, and none is left

    @cache-095 @disruptive
    Scenario: two who save at once do not mix the order
      Given a queue of writes on a server that keeps what it is told
      When 20 writes are made
      Then a second one that saves meanwhile is refused

    @cache-096 @disruptive
    Scenario: what waits outlives a crash of the server
      Given a queue of writes on a server that keeps what it is told
      When 20 writes are made
      And the server is killed and started again
      Then they reach the origin in their order, and none is left

    @cache-097 @disruptive @known_limit
    Scenario: on a pure cache a crash loses what waits
      Users were told that it is saved. This is why a cache is no place for write-behind.

      Given a queue of writes on a server that is a pure cache
      When 20 writes are made
      And the server is killed and started again
      Then nothing is left of them
