Feature: The broker may fail, and the right kind of broker takes over
  A single broker is a single point of failure. The way out for Celery is a replica and sentinels, which put it in the
  primary's place. A Redis Cluster is not: Celery has no transport for one, and says so in a way that nobody understands.

  Rule: With sentinels, tasks flow again when the primary has died

    @celery-012 @disruptive @waits
    Scenario: a replica takes over, and senders and workers follow it
      Replication is asynchronous: a task that was accepted in the last moment may be gone. `min-replicas-to-write 1`
      bounds that moment, sending again what had no effect closes it.

      Given a broker of its own with a replica and 3 sentinels, and a worker that asks them for it
      When the task "add" is sent with [4, 8]
      Then its result comes back within 10 seconds
      When the broker's primary is killed
      Then a task that is sent until it succeeds is done within 8 seconds

  Rule: A cluster is refused as a broker

    @celery-013
    Scenario: our senders say so in one line
      Given a cluster of its own
      Then asking it whether it can carry tasks says "Celery does not run on a Redis Cluster"

    @celery-014 @known_limit
    Scenario: Celery's worker ends with an error about slots
      There is no transport for a cluster in kombu 5.7 (celery#2852). A common hash tag, `global_keyprefix="{celery}:"`,
      makes it start on one shard, without failover.

      Given a cluster of its own
      Then a worker that is pointed at it ends, with one of these errors
        | ERROR                 |
        | MovedError            |
        | ClusterCrossSlotError |

    @celery-015 @known_limit
    Scenario: Celery's sender fails with an error about slots
      Given a cluster of its own
      Then a sender that is pointed at it fails within 10 seconds
