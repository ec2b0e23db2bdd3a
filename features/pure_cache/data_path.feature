@audit
Feature: What goes into the cache comes out of it
  Between an application and its cache stand proxies, load balancers, TLS terminators and client libraries.
  Each can drop, shorten, reorder or delay what passes, and most of what it changes looks like a miss.

  @core
  Rule: What was acknowledged is there, whole and at once

    @cache-022
    Scenario: no acknowledged write is lost
      Given a writer and a reader of the cache
      Then of 2000 acknowledged writes exactly 0 are lost

    @cache-023
    Scenario Outline: a value of any size comes back as it was
      Given a writer and a reader of the cache
      Then a value of <BYTES> bytes comes back as it was

      Examples:
        | BYTES   |
        | 1       |
        | 65535   |
        | 65537   |
        | 1048576 |

    @cache-024
    Scenario: a value of any bytes comes back as it was
      A proxy or a client that takes values for text spoils what is compressed or serialized.

      Given a writer and a reader of the cache
      Then a value that holds every byte comes back as it was

    @cache-025
    Scenario: a deleted key is gone
      An invalidation that is acknowledged and lost shows old data until its ttl ends.

      Given a writer and a reader of the cache
      Then exactly 0 of 100 keys are there right after they were deleted

    @cache-026
    Scenario: a read sees the write before it
      Given a writer and a reader of the cache
      Then exactly 0 of 200 reads right after a write is stale

  @core
  Rule: What one client alone may do, one alone does

    @cache-027
    Scenario: a lock has one holder
      Given a writer and a reader of the cache
      Then of 20 clients that want a lock exactly 1 gets it

    @cache-028
    Scenario: no increment is lost
      Given a writer and a reader of the cache
      Then of 200 increments by two clients exactly 0 are lost

  @core
  Rule: A ttl is kept, neither shorter nor longer

    @cache-029
    Scenario: the server reports the ttl that was set
      Given a writer and a reader of the cache
      Then a ttl of 100 seconds is reported to between 95 and 100 %

    @cache-030
    Scenario: a key lives as long as its ttl
      Given a writer and a reader of the cache
      Then a key with a ttl of 1 second is gone between 0.99 and 1.5 seconds

    @cache-031
    Scenario: server and clients agree on the time
      A moment at which a key ends (`EXPIREAT`) is the server's; most clients reckon it by their own clock.

      Given a writer and a reader of the cache
      Then its clock differs from this machine's by at most 2 seconds

  Rule: Answers come fast enough to be worth asking

    @cache-032
    Scenario: a round trip is short
      A cache that is as slow as the database behind it saves nothing. Twenty milliseconds are a server in
      another region; `practices.toml` does not change this: put the cache near.

      Given a writer and a reader of the cache
      Then half of 50 answers come within 20 milliseconds

    @cache-033
    Scenario: few answers are much later than the others
      A page asks a cache many times: of twenty answers one is among the slowest twentieth. A busy machine in the same
      network stays below 100 milliseconds.

      Given a writer and a reader of the cache
      Then 90 % of 100 answers come within 100 milliseconds

  Rule: There is room for every client

    @cache-034
    Scenario: connections are not turned away on the way
      A balancer has a limit of its own, which no setting of the server shows.

      Given a writer and a reader of the cache
      Then 50 connections at once are served

  Rule: Invalidations reach those who listen

    @cache-035
    Scenario: a published message reaches its subscriber
      Given a writer and a reader of the cache
      Then a published message reaches its subscriber within 1 second
