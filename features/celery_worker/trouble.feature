Feature: Broker outages: workers reconnect without an operator
  Redis is upgraded, moved and overloaded. Workers that do not reconnect are the most reported problem of Celery on
  Redis. Such workers look alive, and the queue grows until an operator restarts them.

  Rule: Durability: accepted tasks survive a restart of the broker with an append-only file

    @celery-107 @disruptive
    Scenario: with an append-only file, waiting tasks survive a killed broker
      Given an isolated broker
      When 20 tasks "stamp" are sent with []
      And the broker is killed
      And the broker is started
      And a worker starts
      Then all tasks are processed within 20 seconds
      And each task ran exactly once

    @celery-108 @disruptive
    Scenario: without persistence, waiting tasks are lost with a killed broker
      Given an isolated broker
        | SETTING    | VALUE |
        | appendonly | no    |
      When the task "stamp" is sent with []
      And the broker is killed
      And the broker is started
      And a worker starts
      Then worker 1 still processes tasks
      And the task ran exactly 0 times
      And the state of the task is "PENDING"

  Rule: Reconnection: a worker resumes without a restart

    @celery-109 @disruptive
    Scenario: an idle worker reconnects to a restarted broker and processes tasks
      Workers of older releases reconnected and took no more tasks: celery#8030, celery#8091, celery#8384, celery#9054.
      The first attempt comes after 2 s.

      Given an isolated broker
      And a worker
      When the broker is restarted
      Then worker 1 processes tasks again within 10 seconds
      And worker 1 is still the same process

    @celery-110 @disruptive @waits
    Scenario: a worker that runs a task survives a restart of the broker and finishes the task
      A task that takes longer than the visibility timeout is delivered again. A worker of Celery 5.7.0 needs
      `redis_practices.celery_worker.consumer` to survive: see pinned.feature.

      Given an isolated broker
      And a worker
        | SETTING            | VALUE     |
        | concurrency        | 1         |
        | visibility timeout | 3 seconds |
      When the task "linger" is sent with [2.0]
      And a worker has begun the task
      And the broker is restarted
      Then the state of the task is "SUCCESS"
      And worker 1 processes tasks again within 20 seconds
      And worker 1 is still the same process

    @celery-111 @disruptive @waits
    Scenario: a worker that cancels running tasks on connection loss waits for a broker that is away
      `worker_cancel_long_running_tasks_on_connection_loss` writes each cancellation to the broker. Celery 5.6.3 alone
      ends the worker if that fails; with redis_practices.celery_worker.transport it waits.

      Given an isolated broker
      And a worker
        | SETTING                   | VALUE      |
        | Celery version            | 5.6.3      |
        | concurrency               | 1          |
        | visibility timeout        | 60 seconds |
        | cancel on connection loss | on         |
      When the task "linger" is sent with [2.0]
      And a worker has begun the task
      And the broker is killed
      And 3 seconds have passed
      And the broker is started
      Then worker 1 processes tasks again within 15 seconds
      And worker 1 is still the same process

    @celery-112 @disruptive @waits
    Scenario: a worker processes tasks again after the broker was down for 3 seconds
      Given an isolated broker
      And a worker
      When the broker is killed
      And 3 seconds have passed
      And the broker is started
      Then worker 1 processes tasks again within 15 seconds
      And worker 1 is still the same process

    @celery-113 @disruptive @waits
    Scenario: a worker processes tasks again after the broker was paused for longer than the socket timeout
      Without `socket_timeout` the worker would wait for ever for the lost reply.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE     |
        | pool           | solo      |
        | socket timeout | 2 seconds |
      When the broker is paused
      And 3 seconds have passed
      And the broker is resumed
      Then worker 1 processes tasks again within 15 seconds
      And worker 1 is still the same process

    @celery-114 @disruptive
    Scenario: a worker that is started before its broker waits for the broker
      Given an isolated broker
      When the broker is killed
      And a worker starts
      And 2 seconds have passed
      And the broker is started
      Then worker 1 processes tasks again within 15 seconds
      And worker 1 is still the same process

    @celery-115 @disruptive
    Scenario: a worker processes tasks after all keys of the broker were deleted
      FLUSHALL deletes waiting and running tasks, as a restart without a file does.

      Given an isolated broker
      And a worker
      When the broker is flushed
      Then worker 1 still processes tasks
      And worker 1 is still the same process
