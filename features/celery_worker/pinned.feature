Feature: Celery is pinned to a release that survives a restart of the broker
  A pinned release misses security fixes, so each pin needs a reason and a test that fails on the day it can go. This pin
  stands in pyproject.toml.

  Rule: Celery 5.6.3 is used because workers of 5.7.0 end when the broker restarts

    @celery-079 @slow @disruptive @known_limit
    Scenario: a worker of Celery 5.7.0 in the middle of a task ends when the broker is restarted
      It ends when its task ends and it has room for another: `'NoneType' object has no attribute 'hostname'`. Once this
      scenario fails, upstream has fixed the bug: see trouble.feature, and lift the pin.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE |
        | Celery version | 5.7.0 |
        | concurrency    | 2     |
      When the task "linger" is sent with [2.0]
      And a worker has begun the task
      And the broker is killed
      And the broker is started
      Then worker 1 exits with 1
      And the log of worker 1 matches "object has no attribute 'hostname'"

  Rule: Celery 5.7 bounds the retries of a task that kills its process

    @celery-080 @slow @disruptive @waits
    Scenario: a task that kills its process 3 times fails with Celery 5.7.0
      `task_retry_on_worker_lost` bounds what `task_reject_on_worker_lost` repeats without end. It misses a task that kills
      its whole worker. The guard in `redis_practices.celery_worker.failing` counts both, with any release: see
      outbox.feature.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE |
        | Celery version | 5.7.0 |
        | concurrency    | 2     |
      When the task "crash_retried" is sent with []
      And the result is read
      Then the task failed with "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 2."
      And the task ran exactly 3 times
