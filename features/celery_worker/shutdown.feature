Feature: Graceful shutdown: stopped workers lose no task
  Every deployment, every scaling down and every reboot stops workers. A stopped worker must finish or return the tasks
  that it runs and has prefetched. Otherwise each deployment loses orders.

  Rule: Warm shutdown: the worker finishes the running task and returns the prefetched ones

    @celery-105
    Scenario: a warm shutdown finishes the running task, and returns the prefetched tasks to the queue
      Given a worker
        | SETTING             | VALUE      |
        | concurrency         | 1          |
        | prefetch multiplier | 4          |
        | visibility timeout  | 60 seconds |
      When 4 tasks "stamp" are sent with [0.8]
      And worker 1 has taken 4 tasks
      And a worker has begun the first task
      And worker 1 is stopped
      Then the queue has exactly 3 waiting tasks within 1 second
      And the first task ran exactly once

  Rule: Cold shutdown: the worker gives running tasks a time, then returns them

    @celery-106
    Scenario Outline: on a cold shutdown with <GRACE> s of grace, a task that needs <SECONDS> s more <ENDING>
      Given a worker
        | SETTING               | VALUE           |
        | concurrency           | 1               |
        | visibility timeout    | 60 seconds      |
        | soft shutdown timeout | <GRACE> seconds |
      When the task "stamp" is sent with [<SECONDS>]
      And a worker has begun the task
      And worker 1 is stopped at once
      Then worker 1 exits with 0
      And the queue has exactly <WAITING> waiting tasks

      # The first worker ends after 4 to 5 s: more than its grace, and far from the 60 s of the next two.
      Examples:
        | SECONDS | GRACE | WAITING | ENDING                                 |
        | 0.6     | 2     | 0       | finishes within the grace              |
        | 60      | 0.5   | 1       | goes back to the queue after the grace |
        | 60      | 0     | 1       | goes back to the queue at once         |
