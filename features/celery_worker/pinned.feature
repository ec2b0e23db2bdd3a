Feature: Celery 5.6 and 5.7 carry the tasks alike
  requirements.txt pins 5.6.3. `src/worker.py` and these features run on 5.7 too: `.ci/run celery57`.

  Rule: A worker of either release survives a restart of the broker

    @celery-079 @slow @disruptive
    Scenario: a worker of Celery 5.7.0 in the middle of a task survives a restart of the broker
      Without `redis_practices.celery_worker.consumer` it ends when its task ends and it has room for another:
      `'NoneType' object has no attribute 'hostname'`. See docs/upstream/celery_restart.md.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE |
        | Celery version | 5.7.0 |
        | concurrency    | 2     |
      When the task "linger" is sent with [2.0]
      And a worker has begun the task
      And the broker is killed
      And the broker is started
      Then the state of the task is "SUCCESS"
      And worker 1 processes tasks again within 20 seconds
      And worker 1 is still the same process

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
