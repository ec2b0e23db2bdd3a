Feature: A task survives the worker that had it
  Machines die, containers are moved, memory runs out. Celery on Redis delivers again what a dead worker held, if it is
  told to; how soon that is, and what is done twice then, decides whether orders are lost or charged twice.

  Rule: A task is acknowledged when it is done, and not before

    @core
    Scenario: a task whose worker is killed is done by another
      Given a worker whose visibility timeout is 1 second
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And another worker starts beside it
      And the first worker is killed
      Then it is delivered again within 5 seconds
      And its result says that another worker did it, in a second delivery
      And it ran 2 times within 1 second

    @known_limit
    Scenario: a task that is acknowledged early is lost with its worker
      Celery's default. It is right only for work that nobody misses, or that must never happen twice.

      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
        | ACKS_LATE          | 0     |
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And another worker starts beside it
      And the first worker is killed
      And 2.5 seconds have passed
      Then the worker still does its work within 10 seconds
      And the first task ran 1 times
      And the first task is still "PENDING"

    Scenario: a task whose pool process is killed fails, and is not run again
      What killed one process would kill the next one too.

      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
      When the task "crash" is sent with []
      Then it fails with "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 0." within 10 seconds
      And it ran 1 times within 1 second
      And the worker still does its work within 10 seconds

    @known_limit
    Scenario: a worker that dies between taking a task and noting it swallows the task
      kombu takes a task off the queue and only then writes it down (celery#4354, celery#7950, kombu#305). No setting
      closes this window: whoever must lose nothing sends again what has no effect in time, see src/outbox.py.

      Given a worker whose visibility timeout is 1 second
      When the first worker hangs
      And the task "linger" is sent with [0]
      And 0 of its tasks wait in the queue within 5 seconds
      And the first worker is killed
      And another worker starts beside it
      And 2.5 seconds have passed
      Then the worker still does its work within 10 seconds
      And the first task ran 0 times

  Rule: A worker that is told to stop loses nothing

    Scenario: a warm shutdown finishes what runs, and returns what was only fetched
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING             | VALUE |
        | WORKER_CONCURRENCY  | 1     |
        | PREFETCH_MULTIPLIER | 4     |
      When 4 tasks "stamp" are sent with [0.8]
      And 0 of its tasks wait in the queue within 5 seconds
      And the first worker is stopped
      Then 3 of its tasks wait in the queue within 1 second
      And the first task ran 1 times

    Scenario Outline: on a cold shutdown, a task that needs <seconds> seconds more <ending>
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE   |
        | WORKER_CONCURRENCY | 1       |
        | SOFT_SHUTDOWN      | <grace> |
      When the task "stamp" is sent with [<seconds>]
      And it has begun within 10 seconds
      And the first worker is told to quit
      Then the worker is gone within 6 seconds
      And <waiting> of its tasks wait in the queue within 1 second

      Examples:
        | seconds | grace | waiting | ending                                   |
        | 0.6     | 2     | 0       | finishes within the time that it is given |
        | 30      | 0.5   | 1       | goes back to the queue after that time    |
        | 30      | 0     | 1       | goes back at once                         |

  Rule: A task may run twice, so it must bear that

    @known_limit
    Scenario: a task that takes longer than the visibility timeout runs twice
      Redis cannot tell a slow worker from a dead one (kombu#337, since 2014). Set the timeout above the longest
      task, time limits below it, and make tasks that bear a second run: see src/once.py.

      Given a worker whose visibility timeout is 1 second
      And a second worker beside it
      When the task "stamp" is sent with [2.5]
      Then its result comes back within 20 seconds
      And it ran at least twice

    @known_limit
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

    @disruptive
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
      And its result comes back within 20 seconds
      And the worker still does its work within 10 seconds
      And the first task ran 2 times
      And "A-1" was paid <times> times

      # The message goes back to the queue, whatever becomes of the task. Cancelling narrows the window; once.py closes it.
      Examples:
        | treated          | cancel | times   |
        | left to finish   | 0      | 2       |
        | cancelled        | 1      | 1       |

    @core
    Scenario: a task that does its work once bears being delivered twice
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
        | ONCE_LEASE  | 4     |
      And a second worker beside it
      When the task "pay" is sent with ["A-1", 2.5]
      Then its result comes back within 20 seconds
      And it ran at least twice
      And "A-1" was paid 1 times

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
      And "A-1" was paid 1 times

  Rule: How soon a task is delivered again is the sum of two settings

    @waits
    Scenario Outline: with a sweep every <interval> s, and only each <throttle>. time, it takes <bound>
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING          | VALUE      |
        | WORKER_POOL      | solo       |
        | RESTORE_INTERVAL | <interval> |
        | RESTORE_THROTTLE | <throttle> |
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And another worker starts beside it
      And the first worker is killed
      Then it is delivered again <bound>

      # A worker looks once when it starts. kombu's defaults are 10 and 10: up to 100 s more than the visibility timeout.
      Examples:
        | interval | throttle | bound                     |
        | 0.5      | 1        | within 4 seconds          |
        | 0.5      | 10       | between 3 and 8 seconds   |
