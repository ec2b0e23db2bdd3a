Feature: Every order has its effect exactly once
  Celery on Redis promises neither once nor at least once: a kill can swallow a task, and a kill can repeat one. Whoever
  takes orders needs both closed: an outbox that sends again, and tasks that bear it.

  Rule: What has no effect in time is sent again

    @celery-073 @disruptive
    Scenario: an order that a dying worker has swallowed is done by another
      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 1 second
      When the first worker hangs while it waits for a task
      And 1 order is written down and sent
      And 0 of its tasks wait in the queue within 5 seconds
      And the first worker is killed
      And another worker starts beside it
      And 2.5 seconds have passed
      Then 1 orders are still open
      When the outbox is swept until no order is open
      Then each of the 1 orders was done exactly once

    @celery-074
    Scenario: an order that is written down and sent twice is done once
      Given a worker whose visibility timeout is 60 seconds
      When 1 order is written down and sent
      And 1 order is written down and sent
      Then the broker holds no task any more within 10 seconds
      And 0 orders are still open
      And each of the 1 orders was done exactly once

    @celery-075 @waits
    Scenario: 2,000 orders are done exactly once while workers are killed each second
      Of 100,000 in 570 such seconds, kills swallowed 46 and repeated 413: docs/celery_throughput.md.

      Given a worker whose visibility timeout is 1 second
      And 3 workers beside it
      When 8 publishers write down and send 2000 orders, while a worker is killed each second
      Then the broker holds no task any more within 20 seconds
      When the outbox is swept until no order is open
      Then each of the 2000 orders was done exactly once

  Rule: A task that kills its worker is put aside

    @celery-076 @known_limit @waits
    Scenario: without a guard, a task that is rejected when its process dies is run without end
      Celery counts retries, not deliveries (celery#8610): `task_reject_on_worker_lost` alone makes a loop.

      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING               | VALUE |
        | WORKER_CONCURRENCY    | 1     |
        | REJECT_ON_WORKER_LOST | 1     |
      When the task "crash" is sent with []
      And it has begun within 10 seconds
      Then it runs 3 times within 40 seconds, and goes on

    @celery-077 @waits
    Scenario: a task that kills its process is put aside after two deliveries
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
        | MAX_DELIVERIES     | 2     |
      When the task "crash_guarded" is sent with []
      Then it fails with "TooManyDeliveries: worker.crash_guarded ended its worker 2 times" within 20 seconds
      And it ran 2 times within 1 second
      And one dead letter names "worker.crash_guarded" and its 2 deliveries
      And the worker still does its work within 10 seconds

    @celery-078
    Scenario: a task that kills its whole worker is put aside after it has killed two
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
        | MAX_DELIVERIES     | 2     |
      And a second worker beside it
      And a second worker beside it
      When the task "end_worker" is sent with []
      Then it fails with "TooManyDeliveries: worker.end_worker ended its worker 2 times" within 20 seconds
      And it ran 2 times within 1 second
      And the worker still does its work within 10 seconds
