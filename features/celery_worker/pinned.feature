Feature: The release of Celery is pinned for a reason
  A pin that nobody remembers the reason of is never lifted. This one stands in pyproject.toml; here is what it is for,
  and what must become red on the day that it can go.

  Rule: Celery 5.6.3 is used, because newer workers do not survive a restart of the broker

    @celery-079 @slow @disruptive @known_limit
    Scenario: a worker of Celery 5.7.0 in the middle of a task ends when the broker is restarted
      It ends when it still has room for another task and its own has ended: `'NoneType' object has no attribute
      'hostname'`. When this scenario fails, upstream has mended it: see trouble.feature, and lift the pin.

      Given a broker of its own with 0 workers
      And a worker of Celery 5.7.0
      When the task "linger" is sent with [2.0]
      And it has begun within 10 seconds
      And the broker is killed and started again
      Then the worker ends with exit code 1 within 20 seconds
      And the worker's log says "object has no attribute 'hostname'"

  Rule: What newer workers would bring is known

    @celery-080 @slow @disruptive @waits
    Scenario: from Celery 5.7 on, a task that kills its process is run again as a retry, and no more often than it may
      `task_retry_on_worker_lost` bounds what `task_reject_on_worker_lost` does without end. It does not see a task
      that kills its whole worker; the guard in redis_practices.celery_worker.failing sees both, with any release: see
      outbox.feature.

      Given a broker of its own with 0 workers
      And a worker of Celery 5.7.0
      When the task "crash_retried" is sent with []
      Then it fails with "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 2." within 24 seconds
      And it ran 3 times within 1 second
