Feature: A sent task can be revoked, and a worker can be asked whether it lives
  An order is cancelled, or a task runs wild. Celery sends such commands by pub/sub, which keeps nothing: a worker that is
  away misses a revocation, and a worker that restarts forgets it. A monitor that misreads a lost ping raises false alarms.

  Rule: Revoke: a revoked task does not run

    @celery-018 @waits
    Scenario: a revoked task that has not begun does not run
      Given a worker
      When the task "stamp" is sent with []
        | OPTION    | VALUE     |
        | countdown | 3 seconds |
      And the task is revoked
      Then the state of the task is "REVOKED"
      And the task ran exactly 0 times
      And worker 1 still processes tasks

    @celery-019
    Scenario: a running task that is revoked with terminate ends
      Given a worker
      When the task "stamp" is sent with [30]
      And a worker has begun the task
      And the task is revoked
        | OPTION    | VALUE |
        | terminate | yes   |
      Then the state of the task is "REVOKED"
      And worker 1 still processes tasks

  Rule: A worker obeys only the revocations that it has received or saved

    @celery-020 @known_limit
    Scenario: a revocation that is sent while no worker runs is lost
      Let a task that may be cancelled ask Redis when it begins. The option `expires` bounds how late it can begin.

      Given an isolated broker
      When the task "stamp" is sent with []
      And the task is revoked
      And a worker starts
      Then worker 1 still processes tasks
      And the task ran exactly once

    @celery-021 @disruptive
    Scenario Outline: after a restart, a worker <CASE> runs a revoked task <TIMES>
      The worker writes its state file when it ends, so a killed worker forgets in any case. Until a forgotten task runs,
      its state is REVOKED, which misleads a reader.

      Given an isolated broker
      And a worker
        | SETTING    | VALUE   |
        | pool       | solo    |
        | state file | <STATE> |
      When the task "stamp" is sent with []
        | OPTION | VALUE |
        | queue  | later |
      And the task is revoked
      And worker 1 is stopped
      And a worker starts
        | SETTING | VALUE |
        | queue   | later |
      Then worker 2 still processes tasks
      And the task ran exactly <TIMES>

      Examples:
        | CASE                 | STATE   | TIMES   |
        | with a state file    | revoked | 0 times |
        | without a state file | none    | once    |

  Rule: Ping: a worker answers whether it lives

    @celery-022
    Scenario: a worker that is pinged by its name answers every time
      A worker hears commands a moment after it logs that it is ready. A ping before that is lost without an error, so ask
      until the first answer.

      Given a worker
      When worker 1 is pinged 40 times
      Then exactly 40 pings were answered

    @celery-023 @known_limit @waits
    Scenario: a long-lived process that pings all workers misses some answers
      The replies to one call are taken by another (celery#6778, celery#9220). Let a monitor name the worker that it asks,
      or start a process for each ping, as `celery inspect ping` does.

      Given a worker
      When every worker is pinged 8 times
      Then between 1 and 7 pings were answered

    @celery-024 @disruptive @known_limit
    Scenario: the first ping after a restart of the broker is not answered
      Celery sends a task again over a new connection, but no command: the ping fails, or its answer is lost. Let a
      long-lived monitor ask twice before it raises an alarm.

      Given an isolated broker
      And a worker
      When worker 1 is pinged once
      And the broker is killed
      And the broker is started
      And worker 1 is pinged once
      Then exactly 0 pings were answered
      And worker 1 is ready within 10 seconds
