@workers @audit
Feature: Running workers read every queue, and take every task
  A broker may be well, and its workers not. Each of these defects shows while the workers run: in their answers to
  remote control, in their queues, in their record of unacknowledged tasks. No task is sent, and no code is read.

  Rule: A worker reads each queue with tasks

    @celery-220 @core
    Scenario: a worker reads every queue with tasks
      Workers look well while a queue grows that none of them reads. A priority that workers round to another step waits
      for ever, too. The queues of ``--queue`` need a reader before their first task. A worker that does not answer may be
      the reader: it may be busy in a solo pool, or without remote control. Then this scenario is skipped.
      Remedy: start a worker with `-Q <queue>`, or send to a queue that is read (`task_routes`, `task_default_queue`).
      Senders and workers need the same `global_keyprefix`, `priority_steps` and `sep` in `broker_transport_options`.

      Given the workers under test
      Then there are no unread queues

    @celery-221
    Scenario: routes and schedules lead to a worker
      A misspelt queue in a route keeps its first task, and a worker discards a misspelt task of the schedule. A queue that
      a process has declared before may belong to workers which start on demand.
      Remedy: the name of a read queue in `task_routes`, and of registered tasks in `beat_schedule`. A worker reads further
      queues by `-Q <queue>`, and has further tasks by `include = ["<module>"]`.

      Given the workers under test
      Then there are no routes to nowhere

  Rule: A worker knows the tasks of its queues

    @celery-222 @core
    Scenario: every reader of a queue knows its tasks
      A worker discards a task that it does not know, and a message with a content type that it does not accept. Its log
      has one line about it. An element that is no message of Celery makes the worker connect again.
      Remedy: import the module of the task in each worker of the queue, by `include = ["<module>"]`, and restart old
      workers. Give all senders a `task_serializer` that `accept_content` of the workers names. Another app needs its own
      `task_default_queue`. `LRANGE <queue> -10 -1` shows the oldest elements.

      Given the workers under test
      Then there are no unknown tasks

  Rule: A worker takes tasks and gives them back

    @celery-223 @core
    Scenario: a worker that answers takes tasks
      A worker with a half-open connection answers each ping and waits for nothing. So does one with a dead pool, or after
      ``cancel_consumer``. With ``--probe-workers`` one task without effect is sent to each queue of ``--queue``.
      Remedy: restart the worker, and install `kombu>=5.7`, which notices a half-open connection after 51 s. A
      `client_name` in `broker_transport_options` names the worker's connections in `CLIENT LIST`.

      Given the workers under test
      Then there are no workers that take no task

    @celery-224
    Scenario: unacknowledged tasks are given back in time
      After the visibility timeout a worker gives the task of a killed worker back. One key without ttl stops all of them.
      Remedy: `DEL unacked_mutex`, with the key prefix; kombu gives the key a ttl of 300 s. Then read the log of a worker.

      Given the workers under test
      Then there are no overdue tasks

    @celery-225
    Scenario: nothing fills mailboxes without a reader
      Answers to a process that was killed, and events for a dead monitor, stay in lists without ttl.
      Remedy: `UNLINK <key>` of the named lists, and `control_queue_expires` and `event_queue_expires` in the settings.

      Given the workers under test
      Then there are no abandoned mailboxes
