@workers @audit
Feature: Running workers read every queue, and take every task
  A broker may be well, and its workers not. Each of these defects shows while the workers run: in their answers to
  remote control, in their queues, in their record of unacknowledged tasks. No code is read, and without
  ``--probe-workers`` no task is sent.

  Rule: A worker reads each queue with tasks

    @celery-220 @core
    Scenario: a worker reads every queue with tasks
      Workers look well while a queue grows that none of them reads. The queues of ``--queue`` need a reader before their
      first task. A worker that does not answer may be the reader: it may be busy in a solo pool, or without remote
      control. Then this scenario is skipped.
      Remedy: start a worker with `-Q <queue>`, or send to a queue that is read (`task_routes`, `task_default_queue`).
      Senders and workers need the same `global_keyprefix` in `broker_transport_options`.

      Given the workers under test
      Then there are no queues whose tasks no worker reads

    @celery-226
    Scenario: the workers read the priorities that senders use
      Each priority step has a separate list. A task waits for ever in the list of a step that no worker has.
      Remedy: the same `priority_steps` and `sep` in `broker_transport_options` of all senders and workers.

      Given the workers under test
      Then there are no queues whose priority no worker reads

    @celery-221
    Scenario: every route leads to a worker
      A misspelt queue takes its first task and keeps it. A queue that a process has declared before may belong to
      workers which start on demand.
      Remedy: the name of a read queue in `task_routes` or `beat_schedule`, or a worker with `-Q <queue>`.

      Given the workers under test
      Then there are no queues whose route leads nowhere

    @celery-229
    Scenario: each worker reads a queue
      After ``cancel_consumer`` a worker answers each ping and takes no task.
      Remedy: `celery -A <app> control add_consumer <queue>`, or restart the worker.

      Given the workers under test
      Then there are no queues whose consumer was cancelled

  Rule: A worker knows the tasks of its queues

    @celery-222 @core
    Scenario: every reader of a queue knows its tasks
      A worker discards a task that it does not know, with one line in its log.
      Remedy: import the module of the task in each worker of the queue, by `include = ["<module>"]`, and restart old
      workers. Another app needs its own `task_default_queue`.

      Given the workers under test
      Then there are no queues whose tasks a reader discards

    @celery-227
    Scenario: a worker knows each task of the schedule
      Beat sends what the schedule names, and a worker discards a task that it does not know.
      Remedy: the name of a registered task in `beat_schedule`, or its module in `include`.

      Given the workers under test
      Then there are no queues whose schedule names an unknown task

    @celery-228
    Scenario: every reader of a queue can read its messages
      A worker discards a message with a content type that it does not accept.
      Remedy: give all senders a `task_serializer` that `accept_content` of the workers names. `LRANGE <queue> -10 -1`
      shows the oldest elements.

      Given the workers under test
      Then there are no queues whose messages a reader refuses

    @celery-233
    Scenario: the tasks of the schedule do not pile up
      Beat sends at its interval, however many of its tasks wait, and they delay all other tasks of the queue. This is
      advice: the tasks may all be wanted. A bound for the age of the oldest task depends on the queue, so set your own:
      `oldest-message = "within 600 seconds"` in `practices.toml`.
      Remedy: more workers or processes (`-c 8`) for the queue. For periodic tasks `"options": {"expires": 60}` in the
      entry of `beat_schedule`, with its interval in seconds; or a queue for these tasks (`task_routes`).

      Given the workers under test
      Then there are no queues whose tasks pile up
        | LIMIT          | BOUND      |
        | oldest-message | reported   |
        | periodic-tasks | at most 10 |

    @celery-230
    Scenario: messages are small
      The broker keeps each message in memory, and a worker repeats the arguments of its tasks in its answers.
      Remedy: store the data elsewhere, and send its key as the argument. `MEMORY USAGE <queue>` shows the size.

      Given the workers under test
      Then there are no queues whose messages have megabytes
        | LIMIT        | BOUND           |
        | message-size | at most 1000000 |

  Rule: A worker takes tasks and gives them back

    @celery-223 @core
    Scenario: a worker that answers takes tasks
      A worker whose connection for tasks is half-open answers each ping and gets no task. A worker with a dead pool
      takes tasks and runs none. With ``--probe-workers`` one task without effect is sent to each queue of ``--queue``.
      Remedy: restart the worker, and install `kombu>=5.7`, which notices a half-open connection after 51 s. A
      `client_name` in `broker_transport_options` names the worker's connections in `CLIENT LIST`.

      Given the workers under test
      Then there are no queues whose reader takes no task

    @celery-224
    Scenario: unacknowledged tasks are given back in time
      After the visibility timeout a worker gives the task of a killed worker back. An `unacked_mutex` without ttl keeps
      every worker from this. A task that still waits for the end of its visibility timeout is advice.
      Remedy: `DEL unacked_mutex`, with the `global_keyprefix` before the name; kombu gives the key a ttl of 300 s. Then
      read the log of a worker.

      Given the workers under test
      Then there are no queues whose tasks are not given back

    @celery-225
    Scenario: no mailbox without a reader fills up
      Answers to a process that was killed, and events for a dead monitor, stay in lists without ttl.
      Remedy: `UNLINK <key>` of the named lists, and `control_queue_expires` and `event_queue_expires` in the settings.

      Given the workers under test
      Then there are no queues whose answers nothing reads
        | LIMIT             | BOUND           |
        | abandoned-answers | at most 1000000 |
