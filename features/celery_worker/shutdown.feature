Feature: Workers are stopped without losing work
  Every deployment, every scaling down and every reboot stops workers. What they were doing, and what they had already
  fetched, must not depend on how much time they are given.

  Rule: A worker that is told to stop loses nothing

    @celery-105
    Scenario: a warm shutdown finishes what runs, and returns what was only fetched
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING             | VALUE |
        | WORKER_CONCURRENCY  | 1     |
        | PREFETCH_MULTIPLIER | 4     |
      When 4 tasks "stamp" are sent with [0.8]
      And 0 of its tasks wait in the queue within 5 seconds
      And the first task has begun within 5 seconds
      And the first worker is stopped
      Then 3 of its tasks wait in the queue within 1 second
      And the first task ran 1 times

    @celery-106
    Scenario Outline: on a cold shutdown, a task that needs <seconds> seconds more <ending>
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE   |
        | WORKER_CONCURRENCY | 1       |
        | SOFT_SHUTDOWN      | <grace> |
      When the task "stamp" is sent with [<seconds>]
      And it has begun within 10 seconds
      And the first worker is told to quit
      Then the worker is gone within 10 seconds
      And <waiting> of its tasks wait in the queue within 1 second

      # The first takes 4 to 5 s, 6 where the machine is busy: more than its grace, and far from the 30 s of the others.
      Examples:
        | seconds | grace | waiting | ending                                   |
        | 0.6     | 2     | 0       | finishes within the time that it is given |
        | 30      | 0.5   | 1       | goes back to the queue after that time    |
        | 30      | 0     | 1       | goes back at once                         |
