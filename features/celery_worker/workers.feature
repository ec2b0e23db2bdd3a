@workers @audit
Feature: The running workers have the settings of this practice
  A broker may be well, and its workers not. Each of these defects shows while the workers run: in their answers to
  remote control, in their queues, in their record of unacknowledged tasks. No task is sent, and no code is read.

  Rule: A task ends

    @celery-200
    Scenario: every task has a time limit
      A task that waits for ever holds its process for ever. Only prefork workers enforce limits.
      Remedy: `task_time_limit = 3300` and `task_soft_time_limit = 3000` in the app's settings, below the visibility
      timeout.

      Given the workers under test
      Then there are no tasks without time limit

    @celery-202
    Scenario: each time limit works
      A soft limit that is not below the hard one never raises. A pool of threads or one that runs solo ends no task.
      Remedy: `task_soft_time_limit = 3000` below `task_time_limit = 3300`; and `--pool prefork`, or a timeout in the
      task.

      Given the workers under test
      Then there are no time limits without effect

  Rule: A task is given to one worker only

    @celery-203
    Scenario: the visibility timeout is longer than each task runs
      A task that is unacknowledged for so long is given to another worker, while the first one still runs it. With early
      acknowledgement that happens to the tasks reserved behind it.
      Remedy: `broker_transport_options = {"visibility_timeout": 43200}` in all senders and workers, above
      `task_time_limit`.

      Given the workers under test
      Then there are no tasks that outlive the visibility timeout

    @celery-204
    Scenario: the visibility timeout is longer than each countdown
      A worker holds a task with an ETA unacknowledged. After the visibility timeout each further worker gets a copy, and
      runs it (kombu#337).
      Remedy: `broker_transport_options = {"visibility_timeout": 43200}` above the longest countdown, not in the transport
      options of the result backend; or a shorter countdown that sends the task again.

      Given the workers under test
      Then there are no countdowns that outlive the visibility timeout

    @celery-205
    Scenario: workers with the same record of unacknowledged tasks have the same visibility timeout
      Each worker gives back all tasks of the record that are older than its own timeout, those of other apps too
      (celery#9349).
      Remedy: `broker_transport_options = {"global_keyprefix": "shop:"}` with a prefix for each app; within an app one
      `visibility_timeout`.

      Given the workers under test
      Then there are no visibility timeouts that another worker shortens

    @celery-206
    Scenario: a task that kills its process is not given back for ever
      A broker on Redis counts no deliveries. A task that runs out of memory stops one process after the other
      (celery#9082).
      Remedy: `task_reject_on_worker_lost = False`; or a task that counts its deliveries, as
      `@app.task(base=redis_practices.celery_worker.failing.Guarded)` does, and tells its limit as `max_deliveries`.

      Given the workers under test
      Then there are no tasks that return after each crash

    @celery-207
    Scenario: no long task is lost with its worker
      A task with early acknowledgement is gone if its worker is killed. Where a second run does more harm than a lost
      one, that is right, so this is advice.
      Remedy: `acks_late=True` for an idempotent task that runs for a minute or longer.

      Given the workers under test
      Then there are no long tasks with early acknowledgement

  Rule: A waiting task is run by the first free worker

    @celery-208
    Scenario: no worker holds tasks that an idle one could run
      A worker reserves further tasks while its processes are busy: `worker_prefetch_multiplier` for each process. Behind
      a long task they wait, beside idle workers.
      Remedy: `worker_prefetch_multiplier = 1`, with `task_acks_late = True` for long tasks, or
      `worker_disable_prefetch = True`.

      Given the workers under test
      Then there are no workers that hold tasks back

  Rule: A message is data, never code

    @celery-201
    Scenario: no worker accepts pickle
      A client that can write to the broker can then run code in the worker.
      Remedy: `accept_content = ["json"]`, `task_serializer = "json"` and `result_serializer = "json"` in the app's
      settings.

      Given the workers under test
      Then there are no workers that accept pickle

  Rule: Results live as long as they are needed

    @celery-209
    Scenario: every result expires
      Results that no client reads fill the memory of the server, until it refuses tasks.
      Remedy: `result_expires = 86400`, or `task_ignore_result = True`; for the results that are there,
      `EXPIRE <key> 86400`.

      Given the workers under test
      Then there are no results without end

    @celery-210
    Scenario: no result expires while its workflow still runs
      A chord whose first result has expired never runs its last step, without an error (celery#3573).
      Remedy: `result_expires = 86400`, above the longest `task_time_limit`.

      Given the workers under test
      Then there are no results that expire too early

    @celery-211
    Scenario: a result is stored again if its server was away
      Without that, a task that ends during a failover counts as pending for ever (celery#8588). This is advice, for
      results that matter.
      Remedy: `result_backend_always_retry = True` and `result_backend_max_retries = 20`.

      Given the workers under test
      Then there are no results that are given up

  Rule: The workers of an app know each other

    @celery-212
    Scenario: each worker has a name of its own
      A command for one reaches all workers of the name, and a monitor shows one of them.
      Remedy: `celery -A app worker -n worker1@%h` with another name for each worker of a host.

      Given the workers under test
      Then there are no workers with the same name

    @celery-213
    Scenario: one beat sends the schedule
      Without a beat no periodic task runs; two beats send each of them twice. Only a beat of Celery 5.7 answers, if its
      settings let it.
      Remedy: one `celery -A app beat`, with `beat_enable_remote_control = True`; for two hosts a scheduler with a lock,
      such as RedBeat.

      Given the workers under test
      Then there are no schedules without one beat

    @celery-214
    Scenario: workers of the same queues have the same tasks and versions
      A worker that an earlier deployment left behind discards each new task that it takes. Within 10 minutes after a start
      this is advice, because a deployment may run.
      Remedy: stop the older worker, by `celery -A app control shutdown -d <worker>`, and start it from the new release.

      Given the workers under test
      Then there are no workers that a deployment left behind

    @celery-215
    Scenario: each queue belongs to one app
      A worker discards tasks that it does not know, so that each app loses tasks of the other.
      Remedy: `broker_transport_options = {"global_keyprefix": "shop:"}` with another prefix for each app, in senders and
      workers; or `task_default_queue = "shop"`.

      Given the workers under test
      Then there are no queues that strangers read

    @celery-216
    Scenario: the clock of each worker is right
      Times of countdowns and redelivery are compared between machines. Celery warns from 16 s on.
      Remedy: start `chronyd` on the worker's machine; and one value of `enable_utc` in all workers.

      Given the workers under test
      Then there are no workers with a wrong clock

  Rule: A worker survives what happens to its broker and its memory

    @celery-217
    Scenario: the versions of each worker have no known defect
      `src/redis_practices/celery_worker/known_defects.toml` has the versions, with a source each.
      Remedy: `pip install "celery[redis]==5.6.3" "kombu==5.7.0"`; Celery 5.7.0 needs `worker_consumer =
      "redis_practices.celery_worker.consumer:KeepingConsumer"`.

      Given the workers under test
      Then there are no workers with a known defect

    @celery-218
    Scenario: a process of the pool serves more than one task
      A memory limit below that of an empty process ends each process after one task.
      Remedy: `worker_max_memory_per_child = 400000`, in KiB, above what a process has after its first task.

      Given the workers under test
      Then there are no workers with hasty recycling

    @celery-219
    Scenario: each worker waits until its broker is back
      A failover takes up to a minute. A worker that gives up earlier ends.
      Remedy: `broker_connection_retry = True` and `broker_connection_max_retries = None`.

      Given the workers under test
      Then there are no workers that give up
