Feature: High availability: a broker fails over to its replica
  A single broker is a single point of failure: while it is down, no order can be placed. For Celery the way out is a
  replica with Redis Sentinel, which promotes the replica. A Redis Cluster is no broker for Celery, and the error of a
  worker that tries speaks of slots.

  Rule: Failover: with Redis Sentinel, tasks flow again after the primary has died

    @celery-012 @disruptive @waits
    Scenario: senders and workers follow a failover by Redis Sentinel to the replica
      Replication is asynchronous: the last accepted tasks may be lost. `min-replicas-to-write 1` bounds that window; an
      outbox closes it.

      Given an isolated broker
        | SETTING   | VALUE |
        | sentinels | 3     |
      And a worker
      When the task "add" is sent with [4, 8]
      Then the result arrives within 10 seconds
      When the broker is killed
      Then worker 1 processes tasks again within 8 seconds

  Rule: Redis Cluster is refused as a broker

    @celery-013
    Scenario: redis_practices refuses a Redis Cluster as a broker in one line
      Given an isolated cluster of 3 primaries without replicas
      When the task "add" is sent with [4, 8]
        | OPTION  | VALUE           |
        | url     | redis://CLUSTER |
        | timeout | 2 seconds       |
      Then the send failed with "Celery does not run on a Redis Cluster"

    @celery-014 @known_limit
    Scenario: Celery's worker ends with MovedError on a Redis Cluster
      kombu 5.7 has no transport for a cluster (celery#2852). A common hash tag, `global_keyprefix="{celery}:"`, makes a
      worker start on one shard, without failover.

      Given an isolated cluster of 3 primaries without replicas
      When a worker starts
        | SETTING | VALUE           |
        | url     | redis://CLUSTER |
      Then the start failed with "MovedError"

    @celery-015 @known_limit
    Scenario: Celery's sender fails with OperationalError on a Redis Cluster
      Given an isolated cluster of 3 primaries without replicas
      When the task "add" is sent with [4, 8]
        | OPTION | VALUE           |
        | url    | redis://CLUSTER |
      Then the send failed with "OperationalError"
      And the send took at most 10 seconds
