Feature: A task bears being run twice
  Redis cannot tell a slow worker from a dead one. Sooner or later a task is delivered again while its first run is still
  at it, or has just ended. Whoever charges cards or sends mails has to expect that.

  Rule: A task may run twice, so it must bear that

    @celery-116 @known_limit
    Scenario: a task that takes longer than the visibility timeout runs twice
      Nothing tells Redis that a worker is slow and not dead (kombu#337, since 2014). Set the timeout above the longest
      task, time limits below it, and make tasks that bear a second run: see redis_practices.celery_worker.delivery.

      Given a worker whose visibility timeout is 1 second
      And a second worker beside it
      When the task "stamp" is sent with [2.5]
      Then its result comes back within 20 seconds
      And it ran at least twice

    @celery-117 @known_limit
    Scenario: a task that is to run later than the visibility timeout runs several times
      A worker holds it until its time has come (kombu#337 too). Keep countdowns far below the timeout; what is due
      tomorrow belongs into a database that a scheduled task reads.

      Given a worker whose visibility timeout is 1 second
      And a second worker beside it
      When the task "stamp" is sent with [] and these options
        | OPTION    | VALUE |
        | countdown | 2.5   |
      Then its result comes back within 20 seconds
      And it ran at least twice

    @celery-118
    Scenario Outline: a task that has ended when it is delivered again runs <times> times
      A worker can look for its result first (`worker_deduplicate_successful_tasks`). It costs one read for each task
      that is delivered again, needs results that are kept, and does not prevent two runs at once: that takes
      redis_practices.celery_worker.delivery.

      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING            | VALUE    |
        | WORKER_CONCURRENCY | 1        |
        | DEDUPLICATE        | <looked> |
      When the task "linger" is sent with [3.0]
      Then 1 of its tasks wait in the queue within 2.5 seconds
      And its result comes back within 20 seconds
      And the broker holds no task any more within 10 seconds
      And it ran <times> times within 1 second

      # The worker has no room for it while the first run goes on, so that it waits in the queue.
      Examples:
        | looked | times |
        | 0      | 2     |
        | 1      | 1     |

    @celery-119 @disruptive
    Scenario Outline: when connections drop, an order whose task is <treated> is paid <times> times
      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE    |
        | WORKER_CONCURRENCY | 1        |
        | CANCEL_ON_LOSS     | <cancel> |
      When the task "book" is sent with ["A-1", 1.0]
      And it has begun within 10 seconds
      And every connection to the broker is dropped
      Then it is delivered again within 10 seconds
      And whoever asks anew reads "SUCCESS" within 20 seconds
      And the worker still does its work within 10 seconds
      And the first task ran 2 times
      And "A-1" was paid <times> times

      # The message goes back to the queue, whatever becomes of the task. Cancelling narrows the window; `once` closes it.
      Examples:
        | treated          | cancel | times   |
        | left to finish   | 0      | 2       |
        | cancelled        | 1      | 1       |

    @celery-120 @core @waits
    Scenario: a task that does its work once bears being delivered twice
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
        | ONCE_LEASE  | 4     |
      And a second worker beside it
      When the task "pay" is sent with ["A-1", 2.5]
      Then its result comes back within 20 seconds
      And it ran at least twice
      When all its workers are stopped, which lets them finish
      Then "A-1" was paid 1 times

    @celery-121
    Scenario: a task that does its work once is taken over when its worker is killed
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
        | ONCE_LEASE  | 2     |
      And a second worker beside it
      When the task "pay" is sent with ["A-1", 1.0]
      And it has begun within 10 seconds
      And the worker that runs it is killed
      Then its result comes back within 20 seconds
      When all its workers are stopped, which lets them finish
      Then "A-1" was paid 1 times
