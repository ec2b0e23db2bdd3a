@audit
Feature: What goes into the cache comes out of it
  Between an application and its cache stand proxies, load balancers, TLS terminators and client libraries.
  Each can drop, shorten, reorder or delay what passes, and most of what it changes looks like a miss.

  @core
  Rule: What was acknowledged is there, whole and at once

    Scenario: no acknowledged write is lost
      Given a writer and a reader of the cache
      Then of 2000 acknowledged writes exactly 0 are lost

    Scenario Outline: a value of any size comes back as it was
      Given a writer and a reader of the cache
      Then a value of <BYTES> bytes comes back as it was

      Examples:
        | BYTES   |
        | 1       |
        | 65535   |
        | 65537   |
        | 1048576 |

    Scenario: a read sees the write before it
      Given a writer and a reader of the cache
      Then exactly 0 of 200 reads right after a write is stale

  @core
  Rule: A ttl is kept, neither shorter nor longer

    Scenario: the server reports the ttl that was set
      Given a writer and a reader of the cache
      Then a ttl of 100 seconds is reported to between 95 and 100 %

    Scenario: a key lives as long as its ttl
      Given a writer and a reader of the cache
      Then a key with a ttl of 1 second is gone between 0.99 and 1.5 seconds

  Rule: Answers come fast enough to be worth asking

    Scenario: a round trip is short
      A cache that is as slow as the database behind it saves nothing. Twenty milliseconds are a server in
      another region; `practices.toml` does not change this: put the cache near.

      Given a writer and a reader of the cache
      Then half of 50 answers come within 20 milliseconds

  Rule: Invalidations reach those who listen

    Scenario: a published message reaches its subscriber
      Given a writer and a reader of the cache
      Then a published message reaches its subscriber within 1 second
