@workers @audit
Feature: Running workers of an app fit together and outlive their broker
  Each worker may be sound, and all of them together not: two of one name, one of an old release, a wrong clock.

  Rule: The workers of an app know each other

    @celery-212
    Scenario: no two workers have the same name
      A command for one reaches all workers of the name, and a monitor shows one of them.
      Remedy: `celery -A app worker -n worker1@%h` with another name for each worker of a host.

      Given the workers under test
      Then there are no workers whose name is used twice

    @celery-213
    Scenario: one beat sends the schedule
      Without a beat no periodic task runs; two beats send each of them twice. A beat answers from Celery 5.7 on, if its
      settings let it; else its tasks show it, by the number of their runs. More runs than the schedule has are advice.
      Remedy: one `celery -A app beat`, with `beat_enable_remote_control = True`; for two hosts a scheduler with a lock,
      such as RedBeat.

      Given the workers under test
      Then there are no workers whose schedule lacks its one beat

    @celery-214
    Scenario: workers of the same queues have the same tasks and versions
      A worker that an earlier deployment left behind discards each new task that it takes. Within 10 minutes after a start
      this is advice, because a deployment may run.
      Remedy: stop the older worker, by `celery -A app control shutdown -d <worker>`, and start it from the new release.

      Given the workers under test
      Then there are no workers whose release is an old one
        | LIMIT      | BOUND              |
        | deployment | within 600 seconds |

    @celery-215
    Scenario: each queue belongs to one app
      A worker discards tasks that it does not know, so that each app loses tasks of the other.
      Remedy: `broker_transport_options = {"global_keyprefix": "shop:"}` with another prefix for each app, in senders and
      workers; or `task_default_queue = "shop"`.

      Given the workers under test
      Then there are no workers whose queue another app reads

    @celery-216
    Scenario: the clock of each worker is right
      Times of countdowns and redelivery are compared between machines. Celery warns from 16 s on.
      Remedy: start `chronyd` on the worker's machine; and one value of `enable_utc` in all workers.

      Given the workers under test
      Then there are no workers whose clock is wrong
        | LIMIT       | BOUND             |
        | clock-drift | within 16 seconds |

  Rule: A worker survives what happens to its broker and its memory

    @celery-217
    Scenario: the versions of each worker have no known defect
      `src/redis_practices/celery_worker/known_defects.toml` has the versions, with a source each. A defect is refused if
      it loses tasks or stops the worker in ordinary operation, such as a restart or failover of the broker. Any other one
      is advice, such as a defect that needs a network which drops packets.
      Remedy: `pip install "celery[redis]==5.6.3" "kombu==5.7.0"`; Celery 5.7.0 needs `worker_consumer =
      "redis_practices.celery_worker.consumer:KeepingConsumer"`.

      Given the workers under test
      Then there are no workers whose version has a known defect

    @celery-218
    Scenario: a process of the pool serves more than one task
      A memory limit below that of an empty process ends each process after one task. A limit of the command line shows
      in no answer. There a busy worker is looked at for up to 5 s, until its processes were all replaced twice.
      Remedy: `worker_max_memory_per_child = 400000`, in KiB, above what a process has after its first task.

      Given the workers under test
      Then there are no workers whose processes end after one task

    @celery-219
    Scenario: each worker waits until its broker is back
      A failover takes up to a minute. A worker that gives up earlier ends.
      Remedy: `broker_connection_retry = True` and `broker_connection_max_retries = None`.

      Given the workers under test
      Then there are no workers whose connection is given up
