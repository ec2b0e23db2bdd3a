Feature: The order of tasks is the one you chose
  A queue is more than a list. Some tasks are urgent, some must not hold others back, some are worthless after a while,
  and some must not run too often. Celery on Redis does all of that a little differently from what one expects.

  Rule: Urgent tasks go first

    @celery-065
    Scenario: priority 0 goes first, and the default steps know only four priorities
      RabbitMQ orders the other way round. The default steps are 0, 3, 6 and 9: priorities 3, 4 and 5 are one, and a
      task sent with 5 before one with 3 goes before it.

      Given a worker that does one task at a time
      When tasks with these priorities wait for it
        | PRIORITY |
        | 9        |
        | 5        |
        | 3        |
        | 0        |
      Then they begin in this order within 10 seconds
        | PRIORITY |
        | 0        |
        | 5        |
        | 3        |
        | 9        |

    @celery-066
    Scenario: with ten steps, ten priorities are in exact order
      Senders and workers must agree on the steps: what lies in a step that a worker does not know is never found.

      Given a worker that does one task at a time and knows 10 priorities
      When tasks with these priorities wait for it
        | PRIORITY |
        | 5        |
        | 4        |
        | 3        |
        | 9        |
        | 0        |
      Then they begin in this order within 10 seconds
        | PRIORITY |
        | 0        |
        | 3        |
        | 4        |
        | 5        |
        | 9        |

  Rule: A task goes to the queue that it is routed to

    @celery-067
    Scenario: each worker does the tasks of its queue
      Given a broker with its worker
      And a worker that does one task at a time
      And the task "stamp" is routed to its queue
      When the task "stamp" is sent with []
      And the task "whoami" is sent with []
      And the worker begins with its queue
      Then all of them are processed within 10 seconds
      And only the first was done by that worker

  Rule: A long task does not hold back short ones

    @celery-068
    Scenario Outline: what a worker reserves is <kept from> another that is idle
      Given a worker that does one task at a time
      And a worker of its own with these settings
        | SETTING             | VALUE        |
        | WORKER_CONCURRENCY  | 1            |
        | PREFETCH_MULTIPLIER | <multiplier> |
      When the task "stamp" is sent with [4]
      And 3 tasks "stamp" are sent with [0.01]
      And the worker has taken <multiplier> of them
      Then the last 3 of them are done <bound> when an idle worker joins

      # 4 is Celery's default. src/worker.py takes 1, which costs nothing that can be measured.
      Examples:
        | kept from | multiplier | bound                |
        | kept from | 4          | at least 2.5 seconds |
        | left to   | 1          | within 2.5 seconds   |

  Rule: A task runs when it should, or not at all

    @celery-069
    Scenario: a countdown is kept
      Given a broker with its worker
      When the task "stamp" is sent with [] and these options
        | OPTION    | VALUE |
        | countdown | 1     |
      Then it begins between 0.95 and 3 seconds after it was sent

    @celery-070
    Scenario: a task that nobody took in time expires
      Given a worker that does one task at a time
      When the task "stamp" is sent with [] and these options
        | OPTION  | VALUE |
        | expires | 0.2   |
      And 0.3 seconds have passed
      And the worker begins with its queue
      Then the last task is "REVOKED" within 10 seconds
      And the first task ran 0 times

  Rule: A task runs no more often than it may

    @celery-071
    Scenario: a rate limit holds for a worker
      Given a worker that does one task at a time
      When 11 tasks "limited" are sent with []
      And the worker begins with its queue
      Then all of them are processed within 10 seconds
      And they began at a rate of between 5 and 10.5 a second

    @celery-072 @known_limit
    Scenario: a rate limit holds for each worker, not for all of them
      Two workers do twice as much. Where the other side sets the limit, count in Redis, in the task.

      Given a worker that does one task at a time
      And the shared worker serves its queue too
      When the worker begins with its queue
      And 21 tasks "limited" are sent with []
      Then all of them are processed within 10 seconds
      And they began at a rate of between 12 and 21 a second
