Feature: Idempotent tasks: a second run changes nothing
  Redis cannot tell a slow worker from a dead one. Sooner or later a task is delivered again while its first run still
  works, or has just ended. A task that charges cards or sends mails must be idempotent, or customers pay twice.

  Rule: At least once: a task may run twice

    @celery-116 @known_limit
    Scenario: a task that takes longer than the visibility timeout runs twice
      Nothing tells Redis that a worker is slow and not dead (kombu#337, since 2014). Set the timeout above the longest
      task, and time limits below it. Make tasks idempotent: see redis_practices.celery_worker.delivery.

      Given 2 workers
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When the task "stamp" is sent with [2.5]
      Then the result arrives within 20 seconds
      And the task ran at least twice

    @celery-117 @known_limit
    Scenario: a task with a countdown longer than the visibility timeout runs several times
      A worker holds it until its time has come (kombu#337 too). Keep countdowns far below the timeout. Tasks that are
      due tomorrow belong into a database that a scheduled task reads.

      Given 2 workers
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When the task "stamp" is sent with []
        | OPTION    | VALUE       |
        | countdown | 2.5 seconds |
      Then the result arrives within 20 seconds
      And the task ran at least twice

  Rule: Deduplication: a worker can look for the result before it runs a task again

    @celery-118
    Scenario Outline: with deduplication <DEDUPLICATION>, a finished task that is delivered again runs <TIMES>
      The setting is `worker_deduplicate_successful_tasks`. It costs one read for each redelivery, and needs stored
      results. It does not prevent two runs at once: that takes redis_practices.celery_worker.delivery.

      Given a worker
        | SETTING            | VALUE           |
        | concurrency        | 1               |
        | visibility timeout | 1 second        |
        | deduplication      | <DEDUPLICATION> |
      When the task "linger" is sent with [3.0]
      Then the queue has exactly 1 waiting task within 2.5 seconds
      And the result arrives within 20 seconds
      And the broker holds no task within 10 seconds
      And the task ran <TIMES>

      # The task waits in the queue, because the only process of the worker still runs it.
      Examples:
        | DEDUPLICATION | TIMES         |
        | off           | exactly twice |
        | on            | exactly once  |

  Rule: Idempotency key: `once` lets one run do the work

    @celery-119 @disruptive
    Scenario Outline: with cancellation <CANCEL>, an order is paid once when connections drop
      The worker keeps a running task, and acknowledges it with its next connection: see
      redis_practices.celery_worker.consumer. Celery alone returns the message while the task runs, so that it runs twice.
      Cancelling the task instead runs it again from its beginning; that needs `once`.

      Given an isolated broker
      And a worker
        | SETTING                   | VALUE      |
        | concurrency               | 1          |
        | visibility timeout        | 60 seconds |
        | cancel on connection loss | <CANCEL>   |
      When the task "book" is sent with ["A-1", 1.0]
      And a worker has begun the task
      And every client is disconnected
      Then the state of the task is "SUCCESS"
      And worker 1 still processes tasks
      And the task ran <TIMES>
      And "A-1" was paid exactly once

      Examples:
        | CANCEL | TIMES         |
        | off    | exactly once  |
        | on     | exactly twice |

    @celery-120 @core @waits
    Scenario: a payment whose task runs twice at the same time is booked once
      Given 2 workers
        | SETTING            | VALUE     |
        | pool               | solo      |
        | visibility timeout | 1 second  |
        | payment lease      | 4 seconds |
      When the task "pay" is sent with ["A-1", 2.5]
      Then the result arrives within 20 seconds
      And the task ran at least twice
      When every worker is stopped
      Then "A-1" was paid exactly once

    @celery-121
    Scenario: a payment whose worker is killed is booked once by another worker
      Given 2 workers
        | SETTING            | VALUE     |
        | pool               | solo      |
        | visibility timeout | 1 second  |
        | payment lease      | 2 seconds |
      When the task "pay" is sent with ["A-1", 1.0]
      And a worker has begun the task
      And the worker that runs the task is killed
      Then the result arrives within 20 seconds
      When every worker is stopped
      Then "A-1" was paid exactly once
