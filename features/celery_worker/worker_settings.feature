@workers @audit
Feature: Running workers end each task, run it once and keep its result
  A broker may be well, and the settings of its workers not. They show while the workers run, in answers to remote
  control. No task is sent, and no code is read. A setting that the command line changes counts as it runs.

  Rule: A task ends

    @celery-200
    Scenario: every task has a time limit
      A task that waits for ever holds its process for ever. Only prefork workers enforce limits.
      Remedy: `task_time_limit = 3300` and `task_soft_time_limit = 3000` in the app's settings, below the visibility
      timeout.

      Given the workers under test
      Then there are no workers whose tasks have no time limit

    @celery-202
    Scenario: each time limit works
      A soft limit that is not below the hard one never raises. A pool of threads or one that runs solo ends no task.
      Remedy: `task_soft_time_limit = 3000` below `task_time_limit = 3300`; and `--pool prefork`, or a timeout in the
      task.

      Given the workers under test
      Then there are no workers whose time limits have no effect

    @celery-232
    Scenario: every task is given up after some retries
      A task that fails for ever is retried for ever, and meets a service that recovers with all its retries. This is
      advice: no answer tells whether the task is retried at all.
      Remedy: `@app.task(autoretry_for=(OSError,), max_retries=5, retry_backoff=True)`.

      Given the workers under test
      Then there are no workers whose tasks are retried for ever

  Rule: A task is given to one worker only

    @celery-203
    Scenario: the visibility timeout is longer than each task runs
      A task that is unacknowledged for so long is given to another worker, while the first one still runs it. With early
      acknowledgement that happens to the tasks reserved behind it.
      Remedy: `broker_transport_options = {"visibility_timeout": 43200}` in all senders and workers, above
      `task_time_limit`.

      Given the workers under test
      Then there are no workers whose tasks outlive the visibility timeout

    @celery-204
    Scenario: the visibility timeout is longer than each countdown
      A worker holds a task with an ETA unacknowledged. After the visibility timeout each further worker gets a copy, and
      runs it (kombu#337).
      Remedy: `broker_transport_options = {"visibility_timeout": 43200}` above the longest countdown, not in the transport
      options of the result backend; or a shorter countdown that sends the task again.

      Given the workers under test
      Then there are no workers whose countdowns outlive the visibility timeout
        | LIMIT           | BOUND        |
        | held-countdowns | at most 1000 |

    @celery-205
    Scenario: workers with the same record of unacknowledged tasks have the same visibility timeout
      Each worker gives back all tasks of the record that are older than its own timeout, those of other apps too
      (celery#9349).
      Remedy: `broker_transport_options = {"global_keyprefix": "shop:"}` with a prefix for each app; within an app one
      `visibility_timeout`.

      Given the workers under test
      Then there are no workers whose visibility timeout another worker shortens

    @celery-231
    Scenario: no task runs on after a lost connection
      A broker that restarts gives unacknowledged tasks back, while the first worker still runs them. This is advice: only
      you know which tasks may run twice.
      Remedy: `worker_cancel_long_running_tasks_on_connection_loss = True`; or `worker_consumer =
      "redis_practices.celery_worker.consumer:KeepingConsumer"`, which keeps them.

      Given the workers under test
      Then there are no workers whose tasks run on after a lost connection

    @celery-206
    Scenario: a task that kills its process is not given back for ever
      A broker on Redis counts no deliveries. A task that runs out of memory ends one process after the other
      (celery#9082). The settings alone are advice.
      Remedy: `task_reject_on_worker_lost = False`; or a task that counts its deliveries, as
      `@app.task(base=redis_practices.celery_worker.failing.Guarded)` does, and tells its limit as `max_deliveries`.

      Given the workers under test
      Then there are no workers whose tasks return after each crash

    @celery-207
    Scenario: no long task is lost with its worker
      A task with early acknowledgement is gone if its worker is killed. Where a second run does more harm than a lost
      one, that is right, so this is advice.
      Remedy: `acks_late=True` for an idempotent task that runs for a minute or longer.

      Given the workers under test
      Then there are no workers whose long tasks are acknowledged early
        | LIMIT     | BOUND             |
        | long-task | within 60 seconds |

  Rule: A waiting task is run by the first free worker

    @celery-208
    Scenario: no worker holds tasks that an idle one could run
      A worker reserves further tasks while its processes are busy: `worker_prefetch_multiplier` for each process. Behind
      a long task they wait, beside idle workers.
      Remedy: `worker_prefetch_multiplier = 1`, with `task_acks_late = True` for long tasks, or
      `worker_disable_prefetch = True`.

      Given the workers under test
      Then there are no workers whose reserved tasks an idle worker could run
        | LIMIT         | BOUND             |
        | reserved-task | within 10 seconds |

  Rule: A message is data, never code

    @celery-201
    Scenario: no worker accepts pickle
      A client that can write to the broker can then run code in the worker.
      Remedy: `accept_content = ["json"]`, `task_serializer = "json"` and `result_serializer = "json"` in the app's
      settings.

      Given the workers under test
      Then there are no workers whose messages may be pickle

  Rule: Results live as long as they are needed

    @celery-209
    Scenario: every result expires
      Results that no client reads fill the memory of the server, until it refuses tasks.
      Remedy: `result_expires = 86400`, or `task_ignore_result = True`; for the results that are there,
      `EXPIRE <key> 86400`.

      Given the workers under test
      Then there are no workers whose results never expire

    @celery-210
    Scenario: no result expires while its workflow still runs
      A chord whose first result has expired never runs its last step, without an error (celery#3573). A short time is
      advice, until a task runs for longer while a chord is under way.
      Remedy: `result_expires = 86400`, above the longest `task_time_limit`.

      Given the workers under test
      Then there are no workers whose results expire too early

    @celery-211
    Scenario: a result is stored again if its server was away
      Without that, a task that ends during a failover counts as pending for ever (celery#8588). This is advice, for
      results that matter.
      Remedy: `result_backend_always_retry = True` and `result_backend_max_retries = 20`.

      Given the workers under test
      Then there are no workers whose results are stored once
