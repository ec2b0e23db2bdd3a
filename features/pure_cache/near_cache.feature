Feature: Near cache: hot values in the memory of the process are dropped when they change
  The fastest round trip is none (client-side caching, CLIENT TRACKING). But a copy in each process is stale as soon as
  the process misses one invalidation: users of two processes then see two prices.

  Rule: A copy is used until the server names its key

    @cache-062 @core
    Scenario: 1,000 reads of a copy cost the server no command
      Remedy: connect without a proxy, or with one that passes CLIENT TRACKING and RESP3.

      Given a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      Then "a copy costs the server no command" holds for 1,000 reads

    @cache-063
    Scenario: a write of another client replaces the copy at once
      Given a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When a client runs "SET user:1 anna EX 60"
      Then the near cache reads "anna" from "user:1" within 500 milliseconds

    @cache-064
    Scenario: the copy of a deleted key is dropped at once
      Given a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When a client runs "DEL user:1"
      Then the near cache reads nothing from "user:1" within 1 second

    @cache-065 @disruptive
    Scenario: a copy does not outlive its ttl
      The server names an expired key when it frees the key, which may be late. The copy knows its own end.

      Given an isolated cache
        | SETTING       | VALUE |
        | active expiry | no    |
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When a client runs "PEXPIRE user:1 200"
      Then the near cache reads nothing from "user:1" within 1 second

    @cache-066 @disruptive
    Scenario: the copy of an evicted key is dropped
      `volatile-ttl` evicts the one key with a ttl first, before writes are refused.

      Given an isolated cache
        | SETTING          | VALUE        |
        | maxmemory        | 4mb          |
        | maxmemory-policy | volatile-ttl |
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When 8,000 keys "flood" are written
        | OPTION | VALUE |
        | ttl    | none  |
      Then at least 1000 writes were refused
      And the near cache reads nothing from "user:1" within 2 seconds

    @cache-067 @disruptive
    Scenario: a flush drops all copies
      Given an isolated cache
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When the cache is flushed
      Then the near cache reads nothing from "user:1" within 1 second

  Rule: A near cache that does not hear the server keeps no copy

    @cache-068 @disruptive
    Scenario: a lost connection drops all copies, and the near cache reconnects
      Given an isolated cache
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When the near cache is disconnected
      And a client runs "SET user:1 anna EX 60"
      Then the near cache reads "anna" from "user:1" within 2 seconds
      And the near cache is ready within 5 seconds

    @cache-069 @disruptive
    Scenario: a near cache notices a paused server without a read
      Given an isolated cache
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When the cache is paused
      Then the near cache has exactly 0 copies within 2 seconds
      When the cache is resumed
      Then the near cache is ready within 3 seconds

  Rule: The memory of a near cache is bounded

    @cache-070
    Scenario: a near cache of 50 copies keeps 50 of 200 hot keys
      Given a near cache in front of the cache
        | SETTING  | VALUE |
        | capacity | 50    |
      When 200 keys "user" are written
      And 200 keys "user" are read
      Then the near cache has exactly 50 copies
