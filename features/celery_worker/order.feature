Feature: Priorities, routes and limits decide which task runs next
  Urgent tasks must not wait behind a backlog, long tasks must not hold short ones back, and late tasks are better
  dropped. Celery on Redis supports all of that, with other defaults than on RabbitMQ.

  Rule: Priority: the most urgent task runs first

    @celery-065
    Scenario: priority 0 runs first, and the default steps know only four priorities
      RabbitMQ orders the other way round. The default steps are 0, 3, 6 and 9: priorities 3, 4 and 5 share one list, so
      a task sent with 5 runs before a later one with 3.

      Given an isolated queue
      When these tasks are sent
        | TASK  | ARGUMENTS | PRIORITY |
        | stamp | []        | 9        |
        | stamp | []        | 5        |
        | stamp | []        | 3        |
        | stamp | []        | 0        |
      And a worker starts
      Then the tasks began in this order
        | PRIORITY |
        | 0        |
        | 5        |
        | 3        |
        | 9        |

    @celery-066
    Scenario: a step for each priority gives ten priorities an exact order
      Senders and workers must agree on the steps. A worker never finds a task in a step that it does not know.

      Given an isolated queue
        | SETTING        | VALUE               |
        | priority steps | 0 1 2 3 4 5 6 7 8 9 |
      When these tasks are sent
        | TASK  | ARGUMENTS | PRIORITY |
        | stamp | []        | 5        |
        | stamp | []        | 4        |
        | stamp | []        | 3        |
        | stamp | []        | 9        |
        | stamp | []        | 0        |
      And a worker starts
      Then the tasks began in this order
        | PRIORITY |
        | 0        |
        | 3        |
        | 4        |
        | 5        |
        | 9        |

  Rule: Routing: a worker runs the tasks of its queue only

    @celery-067
    Scenario: two workers with different queues run one task each
      Given a worker
      And an isolated queue
      When the task "whoami" is sent with []
      And the task "whoami" is sent with []
        | OPTION | VALUE   |
        | queue  | default |
      And a worker starts
      Then worker 1 has exactly 1 processed task
      And worker 2 has exactly 1 processed task

  Rule: Prefetch: with a multiplier of 1, a long task holds no short tasks back

    @celery-068
    Scenario Outline: with prefetch multiplier <MULTIPLIER>, 3 short tasks behind a long one take <BOUND>
      Given an isolated queue
      And a worker
        | SETTING             | VALUE        |
        | concurrency         | 1            |
        | prefetch multiplier | <MULTIPLIER> |
      When the task "stamp" is sent with [12]
      And 3 tasks "stamp" are sent with [0.01]
      And worker 1 has taken <TAKEN>
      And a worker starts
      And the result is read
      Then the wait for the result took <BOUND>

      # 4 is Celery's default. `worker.py` sets 1, which costs nothing that can be measured.
      Examples:
        | MULTIPLIER | TAKEN   | BOUND                |
        | 4          | 4 tasks | at least 2.5 seconds |
        | 1          | 1 task  | at most 2.5 seconds  |

  Rule: A task runs when it is due, or not at all

    @celery-069
    Scenario: a task with a countdown of 1 second begins within 3 seconds
      Given a worker
      When the task "stamp" is sent with []
        | OPTION    | VALUE    |
        | countdown | 1 second |
      And the result is read
      Then the measurement "delay of the task" is between 0.95 and 3 seconds

    @celery-070
    Scenario: a task that expired in the queue is dropped
      Given an isolated queue
      When the task "stamp" is sent with []
        | OPTION  | VALUE       |
        | expires | 0.2 seconds |
      And 0.3 seconds have passed
      And a worker starts
      Then the state of the task is "REVOKED"
      And the task ran exactly 0 times

  Rule: Rate limit: a task begins no more often than allowed

    @celery-071
    Scenario: a worker begins a task with a rate limit of 10 a second at most 10 times a second
      Given an isolated queue
      When 11 tasks "limited" are sent with []
      And a worker starts
      And all results are read
      Then the measurement "tasks begun a second" is between 5 and 10.5

    @celery-072 @known_limit
    Scenario: two workers together exceed a rate limit of 10 a second
      The rate limit of Celery holds for each worker. Count in Redis, in the task, where the limit is that of a service.

      Given an isolated queue
      When a worker starts
      And a worker starts
      And 21 tasks "limited" are sent with []
      And all results are read
      Then the measurement "tasks begun a second" is between 12 and 21
