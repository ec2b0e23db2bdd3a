Feature: A failing task stays within bounds
  Work fails: a service is down, a row is missing, a loop never ends. Retries with backoff and jitter give the service
  time; without them, all clients come back at once (thundering herd). A task without a time limit blocks its process.

  Rule: Retry with backoff: each retry waits longer, and their number is bounded

    @celery-045 @waits
    Scenario: each retry of a failed task waits twice as long as the one before
      A worker with nothing else to do runs a retry when it is due, a busy one later.

      Given a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When the task "flaky" is sent with [2, 1.0]
      And the result is read
      Then the task ran exactly 3 times
      And the measurements are
        | MEASUREMENT         | BOUND                       |
        | wait before retry 1 | between 1.0 and 1.9 seconds |
        | wait before retry 2 | between 2.0 and 2.9 seconds |

    @celery-046
    Scenario: a task whose 3 retries are used up fails with its own error
      Given a worker
      When the task "flaky" is sent with [99, 0.01]
      And the result is read
      Then the task failed with "ConnectionError: attempt 4 failed"
      And the task ran exactly 4 times

    @celery-047 @waits
    Scenario Outline: with <CASE>, <BOUND> of 20 retries run within 1.5 seconds
      Celery's own `retry_backoff` counts its jitter in whole seconds, which makes clumps. Use `wait_before_retry` of
      `redis_practices.celery_worker.failing`. A worker of one process runs 20 retries in up to 1 s on a busy machine.

      Given a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When 20 tasks "flaky" are sent with <ARGUMENTS>
      And all results are read
      Then the measurement "retries at once" is <BOUND>

      Examples:
        | CASE           | ARGUMENTS      | BOUND         |
        | jitter         | [1, 6.0, true] | at most 75 %  |
        | backoff alone  | [1, 1.0]       | at least 80 % |

  Rule: Time limit: a task that takes too long is ended

    @celery-048
    Scenario: a task can clean up at its soft time limit
      Given a worker
      When the task "tidy" is sent with [30]
        | OPTION          | VALUE       |
        | soft time limit | 0.3 seconds |
        | time limit      | 10 seconds  |
      Then the result is "tidied up"

    @celery-049
    Scenario: a hard time limit ends a task that ignores the soft one, and frees its process
      Given a worker
        | SETTING     | VALUE |
        | concurrency | 1     |
      When the task "tidy" is sent with [30, 30]
        | OPTION          | VALUE       |
        | soft time limit | 0.2 seconds |
        | time limit      | 0.5 seconds |
      And the result is read
      Then the task failed with "TimeLimitExceeded(0.5,)"
      And worker 1 still processes tasks

    @celery-050 @known_limit
    Scenario: a hard time limit below the worker's soft one is not enforced
      The pool counts the hard limit from the end of the soft one. Give both limits in a call that shortens one.

      Given a worker
      When the task "tidy" is sent with [0.8]
        | OPTION     | VALUE       |
        | time limit | 0.3 seconds |
      Then the result is "done"

    @celery-051 @known_limit
    Scenario: the threads pool enforces no time limit
      A thread cannot be ended from outside. Use prefork where a limit matters, or a timeout inside the task: of the
      socket, of the query, of the subprocess.

      Given a worker
        | SETTING | VALUE   |
        | pool    | threads |
      When the task "tidy" is sent with [1.2]
        | OPTION          | VALUE       |
        | soft time limit | 0.2 seconds |
        | time limit      | 0.4 seconds |
      Then the result is "done"

  Rule: Reject: a task can return its message to the queue, or drop it

    @celery-052
    Scenario: a task that returns its message to the queue twice runs 3 times
      Given a worker
      When the task "refuse" is sent with [2]
      Then the result is 3

    @celery-053
    Scenario: a task that drops its message fails for its reader
      Celery 5.6 alone stores nothing, and the reader waits for ever: use `redis_practices.celery_worker.workflows`.

      Given a worker
      When the task "refuse" is sent with [-1]
      And a worker has begun the task
      Then worker 1 still processes tasks
      And the task ran exactly once
      And the state of the task is "FAILURE"

  Rule: An error says where it happened

    @celery-054
    Scenario: the result of a failed task contains its traceback
      Given a worker
      When the task "fail" is sent with ["no such order"]
      And the result is read
      Then the task failed with "raise ValueError(message)"

    @celery-055
    Scenario: a task that no worker knows fails at once
      Given a worker
      When the task "no_such_task" is sent with []
      And the result is read
      Then the task failed with "NotRegistered: 'worker.no_such_task'"
