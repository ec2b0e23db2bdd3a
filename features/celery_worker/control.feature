Feature: What was sent can be called back
  An order is cancelled, a report has become pointless, a task runs wild. Celery passes such orders on by pub/sub, which
  remembers nothing: who is not there does not hear them, and who forgets does not know them.

  Rule: A revoked task does not run

    @celery-018
    Scenario: a task that has not begun is revoked
      Given a worker that does one task at a time
      When the task "stamp" is sent with []
      And it is revoked
      And the worker begins with its queue
      Then the worker still does its work within 10 seconds
      And the first task ran 0 times
      And the first task is still "REVOKED"

    @celery-019
    Scenario: a task that runs is ended
      Given a broker with its worker
      When the task "stamp" is sent with [30]
      And it has begun within 10 seconds
      And it is revoked and ended
      Then the last task is "REVOKED" within 5 seconds
      And the worker still does its work within 10 seconds

  Rule: A revocation is known only to who heard it

    @celery-020 @known_limit
    Scenario: without a worker that listens, a revocation is lost
      A task that may be called off asks in Redis when it begins; expiry bounds how late it can begin.

      Given a broker of its own with 0 workers
      When the task "stamp" is sent with []
      And it is revoked
      And a worker starts
      Then the worker still does its work within 10 seconds
      And the first task ran 1 times

    @celery-021 @disruptive
    Scenario Outline: a worker that is restarted <remembers> what was revoked
      Given a broker of its own with a worker that keeps its state in <state>
      When the task "stamp" is sent with [] and these options
        | OPTION | VALUE   |
        | queue  | "later" |
      And it is revoked
      And the worker is restarted and serves "later"
      Then the worker still does its work within 10 seconds
      And the first task ran <runs> times

      # The file is written at the end, so a worker that is killed forgets in any case. Until the task runs, its state
      # reads REVOKED: whoever asks then is told that it will not run.
      Examples:
        | remembers     | state  | runs |
        | remembers     | a file | 0    |
        | has forgotten | memory | 1    |

  Rule: Workers can be asked whether they live

    @celery-022
    Scenario: a worker that is asked by its name answers every time, at once
      From a moment after it says that it is ready: what is sent before it has subscribed to commands reaches nobody, and
      nobody is told. Ask until it has answered once.

      Given a broker with its worker
      When a worker is pinged 40 times by its name
      Then exactly 40 answers came

    @celery-023 @known_limit @waits
    Scenario: of answers to a question to all, a process that lives long loses some
      The replies to one call are taken by another (celery#6778, celery#9220). A monitor names whom it asks, or starts
      a process for each question, as `celery inspect ping` does.

      Given a broker with its worker
      When all workers are pinged 20 times
      Then between 1 and 19 answers came

    @celery-024 @disruptive @known_limit
    Scenario: the first question after a restart of the broker raises an error
      A task is sent again over a new connection, a command is not, and its connection was kept from the question
      before. A monitor that lives long asks twice before it raises an alarm.

      Given a broker of its own with 1 worker
      When a worker is pinged 1 times by its name
      And the broker is killed and started again
      Then pinging the worker raises ConnectionError
      And the worker answers a ping within 10 seconds
