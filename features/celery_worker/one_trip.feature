Feature: Batch transport: a worker takes, notes and acknowledges short tasks in one round trip
  kombu takes a task off the queue, notes that it is taken, and removes that note. These three round trips are most of
  the worker's cost for a short task. Use redis_practices.celery_worker.batch_transport for many short tasks, with one
  solo worker for each core: docs/celery_throughput.md has the figures.

  Rule: A task takes one request to the broker where it took three

    @celery-061 @disruptive
    Scenario Outline: a worker with <TRANSPORT> makes <BOUND> requests for each task
      The server counts them; a pause between two tasks would add some.

      Given an isolated broker
      And a worker
        | SETTING            | VALUE       |
        | pool               | solo        |
        | concurrency        | 1           |
        | visibility timeout | 60 seconds  |
        | transport          | <TRANSPORT> |
      When 400 tasks "add" are sent with [4, 8]
        | OPTION         | VALUE |
        | batch          | yes   |
        | ignore result  | yes   |
        | count commands | yes   |
      Then the measurement "requests for each task" is <BOUND>

      Examples:
        | TRANSPORT           | BOUND             |
        | kombu's transport   | between 3 and 3.5 |
        | the batch transport | between 1 and 1.5 |

  Rule: No task is lost in the round trip

    @celery-063
    Scenario: a task that a killed worker took in one round trip is done by a worker with kombu's transport
      Given a worker
        | SETTING            | VALUE               |
        | pool               | solo                |
        | visibility timeout | 1 second            |
        | transport          | the batch transport |
      When the task "linger" is sent with [60]
      And a worker has begun the task
      And a worker starts
        | SETTING   | VALUE             |
        | transport | kombu's transport |
      And worker 1 is killed
      Then the task is delivered again within 5 seconds
      And the result is {"run": 2, "redelivered": true}
      And the task ran exactly twice
      And the broker holds no task within 5 seconds

    @celery-064
    Scenario: each task runs once when the server forgets the transport's script
      Given a worker
        | SETTING            | VALUE               |
        | pool               | solo                |
        | visibility timeout | 60 seconds          |
        | transport          | the batch transport |
      When 300 tasks "stamp" are sent with []
        | OPTION | VALUE |
        | batch  | yes   |
      And a client runs "SCRIPT FLUSH"
      Then all tasks are processed within 30 seconds
      And each task ran exactly once
      And the broker holds no task within 5 seconds
