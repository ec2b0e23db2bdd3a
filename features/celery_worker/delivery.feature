Feature: Redelivery: a task survives the death of its worker
  Machines die, containers move, memory runs out. Celery on Redis delivers a dead worker's task again only with late
  acknowledgement, and only after the visibility timeout. With Celery's defaults, the orders of a killed worker are
  lost; a timeout that is too short charges them twice.

  Rule: Late acknowledgement: a task is acknowledged when it is done

    @celery-032 @core @waits
    Scenario: a task whose worker is killed is done by another worker
      Given 2 workers
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When the task "linger" is sent with [60]
      And a worker has begun the task
      And the worker that runs the task is killed
      Then the task is delivered again within 5 seconds
      And the result is {"run": 2, "redelivered": true}
      And the task ran exactly twice

    @celery-033 @known_limit
    Scenario: a task that is acknowledged early is lost with its worker
      Celery's default. It is right only for work that may be lost, or that must never run twice.

      Given a worker
        | SETTING            | VALUE    |
        | concurrency        | 1        |
        | visibility timeout | 1 second |
        | acks late          | off      |
      When the task "linger" is sent with [60]
      And a worker has begun the task
      And a worker starts
      And worker 1 is killed
      And 2.5 seconds have passed
      Then worker 2 still processes tasks
      And the task ran exactly once
      And the state of the task is "PENDING"

    @celery-034
    Scenario: a task whose pool process is killed fails, and is not run again
      The task that killed one process would kill the next one too.

      Given a worker
        | SETTING            | VALUE      |
        | concurrency        | 1          |
        | visibility timeout | 60 seconds |
      When the task "crash" is sent with []
      And the result is read
      Then the task failed with "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 0."
      And the task ran exactly once
      And worker 1 still processes tasks

    @celery-035 @disruptive @known_limit
    Scenario: a worker that is killed between taking and noting a task loses the task
      kombu takes a task off the queue and only then notes it (celery#4354, celery#7950, kombu#305). No setting closes
      this window. Send again what has no effect in time, see redis_practices.celery_worker.delivery.

      Given an isolated broker
      And a worker
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
      When worker 1 is paused
      And the task "linger" is sent with [0]
      And worker 1 has taken 1 task
      And worker 1 is killed
      And a worker starts
      And 2.5 seconds have passed
      Then worker 2 still processes tasks
      And the task ran exactly 0 times

  Rule: The time until redelivery is the sum of two settings

    @celery-036 @waits
    Scenario Outline: with restore interval <INTERVAL> s and throttle <THROTTLE>, a task is delivered again <BOUND>
      Given 2 workers
        | SETTING            | VALUE              |
        | pool               | solo               |
        | visibility timeout | 1 second           |
        | restore interval   | <INTERVAL> seconds |
        | restore throttle   | <THROTTLE>         |
      When the task "linger" is sent with [60]
      And a worker has begun the task
      And the worker that runs the task is killed
      Then the task is delivered again <BOUND>

      # A worker looks once when it starts, so the second of these looks again 6 s later: 2 s are left even where the
      # task begins late. kombu's defaults are 10 and 10: up to 100 s more than the visibility timeout.
      Examples:
        | INTERVAL | THROTTLE | BOUND                    |
        | 0.5      | 1        | within 4 seconds         |
        | 0.5      | 12       | between 2 and 10 seconds |

      @slow
      Examples: more
        | INTERVAL | THROTTLE | BOUND                    |
        | 0.5      | 20       | between 2 and 14 seconds |

  Rule: In every history of a worker, each task runs as often as it should
    Events are sending, sending for later, revoking, killing the worker and restarting it, in any order.

    @celery-037 @disruptive @waits
    Scenario: every task runs as often as it should in random histories of a worker
      Given an isolated broker
      And a worker
        | SETTING            | VALUE    |
        | pool               | solo     |
        | visibility timeout | 1 second |
        | state file         | revoked  |
      Then "every task runs as often as it should" holds for 3 histories
