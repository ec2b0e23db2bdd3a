Feature: Outbox: every order has its effect exactly once
  Celery on Redis is neither at most once nor at least once: a kill can lose a task, and a kill can repeat one. An
  application that takes orders needs a transactional outbox that sends again, and idempotent tasks. Without them,
  customers pay for orders that never ship.

  Rule: A sweep sends again the orders that have no effect in time
    A worker that waits for tasks is handed the next one even while it is paused. Killed then, it has noted nothing, so
    no other worker gets the task. Only the outbox still knows the order.

    @celery-073 @disruptive
    Scenario: an order that a killed worker has lost is paid by another worker after a sweep
      Given an isolated broker
      And a worker
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When worker 1 is paused
      And 1 order is placed
      And worker 1 has taken 1 task
      And worker 1 is killed
      And a worker starts
      And 2.5 seconds have passed
      Then the outbox has exactly 1 open order
      When the outbox is swept
      Then each order was paid exactly once

    @celery-074
    Scenario: an order that is placed and sent twice is paid exactly once
      Given a worker
        | SETTING            | VALUE      |
        | pool               | solo       |
        | visibility timeout | 60 seconds |
      When 1 order is placed
        | OPTION | VALUE |
        | copies | 2     |
      Then the broker holds no task within 10 seconds
      And the outbox has exactly 0 open orders within 5 seconds
      And each order was paid exactly once

    @celery-075 @waits
    Scenario Outline: <ORDERS> orders are paid exactly once while a worker is killed every second
      In a run of 570 seconds with 100,000 orders, kills lost 46 tasks and repeated 413: docs/celery_throughput.md.

      Given 4 workers
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When <ORDERS> orders are placed
        | OPTION                   | VALUE    |
        | publishers               | 8        |
        | a worker is killed every | 1 second |
      Then the broker holds no task within 20 seconds
      When the outbox is swept
      Then each order was paid exactly once

      Examples:
        | ORDERS |
        | 600    |

      @slow
      Examples: more
        | ORDERS |
        | 2,000  |

  Rule: Poison message: a task that kills its worker becomes a dead letter

    @celery-076 @known_limit @waits
    Scenario: a task that is rejected when its process dies runs without end unless deliveries are counted
      Celery counts retries, not deliveries (celery#8610): `task_reject_on_worker_lost` alone makes a loop.

      Given a worker
        | SETTING               | VALUE      |
        | concurrency           | 1          |
        | visibility timeout    | 60 seconds |
        | reject on worker lost | on         |
      When the task "crash" is sent with []
      And a worker has begun the task
      Then the task ran at least 3 times
      And the state of the task is "PENDING"

    @celery-077 @waits
    Scenario: a task that kills its process is a dead letter after two deliveries
      Given a worker
        | SETTING            | VALUE      |
        | concurrency        | 1          |
        | visibility timeout | 60 seconds |
        | max deliveries     | 2          |
      When the task "crash_guarded" is sent with []
      And the result is read
      Then the task failed with "TooManyDeliveries: worker.crash_guarded ended its worker 2 times"
      And the task ran exactly twice
      And the dead letters are
        | TASK                 | DELIVERIES |
        | worker.crash_guarded | 2          |
      And worker 1 still processes tasks

    @celery-078
    Scenario: a task that kills its whole worker is a dead letter after it has killed two workers
      Given 3 workers
        | SETTING            | VALUE    |
        | concurrency        | 1        |
        | visibility timeout | 1 second |
        | max deliveries     | 2        |
      When the task "end_worker" is sent with []
      And the result is read
      Then the task failed with "TooManyDeliveries: worker.end_worker ended its worker 2 times"
      And the task ran exactly twice
      And the dead letters are
        | TASK              | DELIVERIES |
        | worker.end_worker | 2          |
      And every worker still processes tasks
