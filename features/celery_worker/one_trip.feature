Feature: Short tasks are taken, noted and acknowledged in one round trip
  kombu takes a task off the queue, notes that it is taken and removes that note: three round trips, and most of what
  a short task costs a worker. The transport in redis_practices.celery_worker.batch_transport makes one of them. Turn
  it on for many short tasks, with one solo worker for each core: docs/celery_throughput.md has the figures.

  Rule: A task takes one request where it took three

    @celery-061 @disruptive
    Scenario Outline: <WHO> makes <BOUND> requests for each task
      The server counts them; a pause between two tasks would add some.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE       |
        | WORKER_POOL        | solo        |
        | WORKER_CONCURRENCY | 1           |
        | BROKER_TRANSPORT   | <TRANSPORT> |
      When 1000 tasks are sent in batches, and all are done
      Then the broker was asked <BOUND> times for each of them

      Examples:
        | WHO        | TRANSPORT          | BOUND             |
        | kombu's    | redis              | between 3 and 3.5 |
        | one_trip's | redis_practices.celery_worker.batch_transport:Transport | between 1 and 1.5 |

  Rule: No task is lost in between

    @celery-062 @disruptive
    Scenario: at any moment, each task waits or is noted or has run
      kombu's own has moments at which a task is nowhere but in the worker, and dies with it: see delivery.feature. Here
      a worker that found nothing to do has such a moment too, as it waits like kombu's.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING          | VALUE              |
        | WORKER_POOL      | solo               |
        | BROKER_TRANSPORT | redis_practices.celery_worker.batch_transport:Transport |
      Then at 100 or more moments of 500 tasks, each waits, is noted or has run

    @celery-063
    Scenario: what a killed worker held is done by another, with kombu's transport too
      Given a worker whose visibility timeout is 1 second, with these settings
        | SETTING          | VALUE              |
        | WORKER_POOL      | solo               |
        | BROKER_TRANSPORT | redis_practices.celery_worker.batch_transport:Transport |
      And a worker beside it with kombu's transport
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And the worker that runs it is killed
      Then it is delivered again within 5 seconds
      And its result says that another worker did it, in a second delivery
      And it ran 2 times within 1 second
      And the broker holds no task any more within 5 seconds

    @celery-064
    Scenario: each task runs once where the server forgets the script
      Given a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING          | VALUE              |
        | WORKER_POOL      | solo               |
        | BROKER_TRANSPORT | redis_practices.celery_worker.batch_transport:Transport |
      When 300 tasks "stamp" are sent in batches with []
      And the server forgets its scripts
      Then all of them are processed within 30 seconds
      And each of them ran exactly once
      And the broker holds no task any more within 5 seconds
