Feature: Hot values in the process' own memory are dropped when they change
  The fastest round trip is none. But a copy in each process is right only as long as somebody tells it about
  each change, and as long as it notices that nobody tells it any more.

  Rule: A copy is used until the server names its key

    @cache-062 @core
    Scenario: a value is read from memory
      Given a near cache of this scenario's keys
      And the near cache holds "qiross" as "user:1"
      Then 1000 reads of "user:1" through it cost the server nothing

    @cache-063
    Scenario: a write of another client is seen at once
      Given a near cache of this scenario's keys
      And the near cache holds "qiross" as "user:1"
      When another client sets "user:1" to "anna"
      Then the near cache reads "anna" as "user:1" within 500 milliseconds

    @cache-064
    Scenario: a deleted key is gone at once
      Given a near cache of this scenario's keys
      And the near cache holds "qiross" as "user:1"
      When another client deletes "user:1"
      Then the near cache reads nothing as "user:1" within 1 second

    @cache-065 @disruptive
    Scenario: a copy does not outlive its ttl
      The server names an expired key when it frees it, which may be late; the copy knows its own end.

      Given a server of its own that frees expired keys only when they are read
      And a near cache of all its keys
      And the near cache holds "qiross" as "user:1" for 200 milliseconds
      Then the near cache reads nothing as "user:1" within 1 second

    @cache-066 @disruptive
    Scenario: what the server evicts is dropped
      By this policy the one key with a ttl goes first, before writes are refused.

      Given a server with a memory limit of 4 MB and the policy "volatile-ttl"
      And a near cache of all its keys
      And the near cache holds "qiross" as "user:1"
      Then a flood of 8000 keys is written and at least 1000 of them refused
      And the near cache reads nothing as "user:1" within 2 seconds

    @cache-067 @disruptive
    Scenario: a flush drops everything
      Given a server of its own
      And a near cache of all its keys
      And the near cache holds "qiross" as "user:1"
      When the server is flushed
      Then the near cache reads nothing as "user:1" within 1 second

  Rule: A copy is worth nothing when the server is not heard

    @cache-068 @disruptive
    Scenario: a lost connection drops everything, and it is heard again by itself
      Given a server of its own
      And a near cache of all its keys
      And the near cache holds "qiross" as "user:1"
      When the server cuts the connection of the near cache
      And another client sets "user:1" to "anna"
      Then the near cache reads "anna" as "user:1" within 2 seconds
      And the near cache listens again within 3 seconds

    @cache-069 @disruptive
    Scenario: a server that hangs is noticed without being asked
      Given a server of its own
      And a near cache of all its keys
      And the near cache holds "qiross" as "user:1"
      When the server hangs
      Then the near cache has dropped everything within 2 seconds
      When the server goes on
      Then the near cache listens again within 3 seconds

    @cache-070
    Scenario: it stays within its limit
      Given a near cache of this scenario's keys
      When 200 keys are read through it, which holds at most 50
      Then it holds exactly 50 values
