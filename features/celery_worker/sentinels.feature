@sentinels @audit
Feature: The sentinels of the broker replace its primary when it dies
  Sentinels watch a primary for years, and are needed for a minute. Each of these defects is invisible until then: the
  broker answers, and so does each sentinel. The URL is
  `sentinel://host:26379;sentinel://host:26379/0?master_name=NAME`, Celery's own with the name in it. No failover is
  asked for without `--allow-disruption`.

  @core
  Rule: The sentinels agree, and enough of them are left when one dies

    @celery-260
    Scenario: all sentinels of the broker answer, name one primary, and have one setting of it
      A client asks the sentinel that answers first. With two named primaries, some clients write to a server that other
      clients never read. Sentinels with another quorum or another time do not see the same failure.
      Remedy: start the silent sentinel, or take it out of the URL. On the differing sentinel:
      `SENTINEL SET <name> <setting> <value>`; for another primary `SENTINEL REMOVE <name>`, then
      `SENTINEL MONITOR <name> <host> <port> <quorum>` with its auth-pass.

      Given the sentinels of the broker under test
      Then there are no sentinels whose answer differs
      And there are no sentinels whose settings differ

    @celery-261
    Scenario: the sentinels of the broker can fail over when one of them has died
      A failover needs as many sentinels as the quorum says, and the votes of a majority. Dead sentinels are voters,
      too, until each living one has forgotten them.
      Remedy: three or five sentinels, each on a separate machine; `SENTINEL SET <name> quorum <number>` with a
      majority of them. `SENTINEL RESET <name>` on one sentinel after another, 30 seconds apart, makes them forget dead
      ones.

      Given the sentinels of the broker under test
      Then there are no sentinels whose majority is too small

    @celery-262
    Scenario: the sentinels of the broker can log in, and a replica can take over
      A sentinel with a wrong password takes a healthy primary for dead, and logs no error. A replica with priority 0,
      or without a copy, is not promoted; one that is seconds behind loses these seconds.
      Remedy: `SENTINEL SET <name> auth-pass <password>` on the sentinel; `CONFIG SET masterauth <password>` on every
      server, the primary too; `CONFIG SET replica-priority 100` on a replica; or start a replica. An address that is
      gone is forgotten by `SENTINEL RESET <name>`.

      Given the sentinels of the broker under test
      Then there are no sentinels whose login is refused
      And there are no sentinels whose replicas cannot take over

  Rule: The times of the sentinels fit a network

    @celery-263
    Scenario: the sentinels of the broker wait long enough, and not too long
      Below a second, a slow command or a lost packet causes a failover. A failover is given up after its
      failover-timeout, and the next one begins after twice that time.
      Remedy: `SENTINEL SET <name> down-after-milliseconds 5000` and `SENTINEL SET <name> failover-timeout 60000`.

      Given the sentinels of the broker under test
      Then the field "down-after-milliseconds" is between 1000 and 60000
      And the field "failover-timeout" is between 10000 and 600000

  @core
  Rule: Other machines reach the sentinels only with a password, and over TLS

    @celery-264
    Scenario: the sentinels of the broker serve no client without a password, nor in plain text
      Any program that reaches a sentinel may fail the primary over, or send all clients to another server. Sentinels
      have no protected mode by default. On a loopback address this is advice.
      Remedy: in each sentinel.conf `requirepass <password>` and `sentinel sentinel-pass <password>`; for TLS `port 0`,
      `tls-port 26379`, `tls-replication yes` and the files of the certificate. Then `sentinel_password=<password>` in
      the URL, and `sentinel_kwargs` in Celery.

      Given the sentinels of the broker under test
      Then there are no unprotected servers
      And there are no connections in plain text

  Rule: A failover on request works, and loses no write that a replica has confirmed

    @celery-265 @disruptive @waits
    Scenario: the sentinels of the broker replace its primary on request
      Only a rehearsal shows that another server can carry the broker. With one replica, the old primary is made
      primary again afterwards; with more, the sentinels choose.
      Remedy: read the sentinels' logs, from +try-failover on; then mend what the scenarios above name.

      Given the sentinels of the broker under test
      When the sentinels fail over
      Then the failover took at most 30 seconds
      And there are no sentinels whose answer differs
