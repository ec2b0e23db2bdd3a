Feature: A task survives the worker that had it
  Machines die, containers are moved, memory runs out. Celery on Redis delivers again what a dead worker held, if it is
  told to; how soon that is, and what is done twice then, decides whether orders are lost or charged twice.

  Rule: A task is acknowledged when it is done, and not before

    @celery-032 @core @waits
    Scenario: a task whose worker is killed is done by another
      Given a worker whose visibility timeout is 1 second
      And a second worker beside it
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And the worker that runs it is killed
      Then it is delivered again within 5 seconds
      And its result says that another worker did it, in a second delivery
      And it ran 2 times within 1 second

    @celery-033 @known_limit
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

    @celery-034
    Scenario: a task whose pool process is killed fails, and is not run again
      What killed one process would kill the next one too.

      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
      When the task "crash" is sent with []
      Then it fails with "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 0." within 10 seconds
      And it ran 1 times within 1 second
      And the worker still does its work within 10 seconds

    @celery-035 @disruptive @known_limit
    Scenario: a worker that dies between taking a task and noting it swallows the task
      kombu takes a task off the queue and only then writes it down (celery#4354, celery#7950, kombu#305). No setting
      closes this window: whoever must lose nothing sends again what has no effect in time, see
      redis_practices.celery_worker.delivery. The transport in redis_practices.celery_worker.batch_transport opens it
      only for a worker that waits at an empty queue.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 1 second
      When the first worker hangs while it waits for a task
      And the task "linger" is sent with [0]
      And 0 of its tasks wait in the queue within 5 seconds
      And the first worker is killed
      And another worker starts beside it
      And 2.5 seconds have passed
      Then the worker still does its work within 10 seconds
      And the first task ran 0 times

  Rule: How soon a task is delivered again is the sum of two settings

    @celery-036 @waits
    Scenario Outline: with a sweep every <interval> s, and only each <throttle>. time, it takes <bound>
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING          | VALUE      |
        | WORKER_POOL      | solo       |
        | RESTORE_INTERVAL | <interval> |
        | RESTORE_THROTTLE | <throttle> |
      And a second worker beside it
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And the worker that runs it is killed
      Then it is delivered again <bound>

      # A worker looks once when it starts, so the second of these looks again 10 s later: 2 s are left even where the
      # task begins late. kombu's defaults are 10 and 10: up to 100 s more than the visibility timeout.
      Examples:
        | interval | throttle | bound                     |
        | 0.5      | 1        | within 4 seconds          |
        | 0.5      | 20       | between 2 and 14 seconds  |

  Rule: Whatever happens to a worker, each task runs as often as it should
    Events are sending, sending for later, calling back, and the worker's end, at once or in order, in any order.

    @celery-037 @disruptive @waits
    Scenario: any history of a worker
      Given a broker of its own with a worker that remembers and delivers again after 1 second
      Then in 3 histories of up to 10 events every task runs as often as it should
