Feature: A task that fails does so within bounds
  Work fails: a service is away, a row is missing, a loop never ends. A queue that is used well tries again with
  patience, gives up at some point, and says what went wrong. One that is not hammers a service that is down, or keeps
  every process busy with a task that hangs.

  Rule: A failed task is tried again, later each time, and not for ever

    @celery-045 @waits
    Scenario: each retry waits longer than the one before
      A worker that has nothing else to do runs it when it is due; a busy one when it gets to it.

      Given a worker of its own with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
      When the task "flaky" is sent with [2, 1.0]
      Then its result comes back within 20 seconds
      And it ran again after these waits
        | WAIT                        |
        | between 1.0 and 1.9 seconds |
        | between 2.0 and 2.9 seconds |

    @celery-046
    Scenario: a task whose retries are used up fails with its own error
      Given a broker with its worker
      When the task "flaky" is sent with [99, 0.01]
      Then it fails with "ConnectionError: attempt 4 failed" within 10 seconds
      And it ran 4 times within 1 second

    @celery-047 @waits
    Scenario Outline: many retries <how>
      Given a worker of its own with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
      When 20 tasks "flaky" are sent with <arguments>
      Then all of them are processed within 20 seconds
      And <bound> of their retries ran in the busiest 1.5 seconds

      # Without jitter, what failed together comes back together, and fails together again. Celery's own
      # `retry_backoff` counts its jitter in whole seconds, which makes clumps: see redis_practices.celery_worker.failing.
      # A worker of one process does 20 in up to 1 s where the machine is busy; the window is longer than that.
      Examples:
        | how                             | arguments      | bound         |
        | are spread by jitter            | [1, 6.0, true] | at most 75 %  |
        | come all at once without jitter | [1, 1.0]       | at least 80 % |

  Rule: A task that takes too long is ended

    @celery-048
    Scenario: a soft time limit lets a task tidy up
      Given a broker with its worker
      When the task "tidy" is sent with [30] and these options
        | OPTION          | VALUE |
        | soft_time_limit | 0.3   |
        | time_limit      | 10    |
      Then these results come back within 10 seconds
        | RESULT     |
        | tidied up  |

    @celery-049
    Scenario: a hard time limit ends a task that does not heed the soft one, and frees its process
      Given a worker of its own with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
      When the task "tidy" is sent with [30, 30] and these options
        | OPTION          | VALUE |
        | soft_time_limit | 0.2   |
        | time_limit      | 0.5   |
      Then it fails with "TimeLimitExceeded: TimeLimitExceeded(0.5,)" within 10 seconds
      And the worker still does its work within 10 seconds

    @celery-050 @known_limit
    Scenario: a hard time limit below the soft one of the worker is not enforced
      The pool counts the hard limit from the end of the soft one. Who shortens one for a call gives both.

      Given a broker with its worker
      When the task "tidy" is sent with [0.8] and these options
        | OPTION     | VALUE |
        | time_limit | 0.3   |
      Then these results come back within 10 seconds
        | RESULT |
        | done   |

    @celery-051 @known_limit
    Scenario: the threads pool does not enforce time limits
      A thread cannot be ended from outside. Where a limit matters use prefork, or a timeout inside the task: of the
      socket, of the query, of the subprocess.

      Given a worker of its own with these settings
        | SETTING     | VALUE   |
        | WORKER_POOL | threads |
      When the task "tidy" is sent with [1.2] and these options
        | OPTION          | VALUE |
        | soft_time_limit | 0.2   |
        | time_limit      | 0.4   |
      Then these results come back within 10 seconds
        | RESULT |
        | done   |

  Rule: A task can be refused

    @celery-052
    Scenario: a task returns its message to the queue and is run again
      Given a broker with its worker
      When the task "refuse" is sent with [2]
      Then these results come back within 10 seconds
        | RESULT |
        | 3      |

    @celery-053
    Scenario: a task drops its message for good, and nobody who waits is told
      Given a broker with its worker
      When the task "refuse" is sent with [-1]
      Then it ran 1 times within 10 seconds
      And the worker still does its work within 10 seconds
      And the first task is still "PENDING"

  Rule: An error says where it happened

    @celery-054
    Scenario: the traceback comes with the result
      Given a broker with its worker
      When the task "fail" is sent with ["no such order"]
      Then it fails with "ValueError: no such order" within 10 seconds
      And its traceback names "raise ValueError(message)"

    @celery-055
    Scenario: a task that no worker knows fails instead of waiting for ever
      Given a broker with its worker
      When the task "no_such_task" is sent with []
      Then it fails with "NotRegistered: 'worker.no_such_task'" within 10 seconds
