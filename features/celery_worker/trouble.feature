Feature: The broker fails, and work goes on when it is back
  Redis is upgraded, moved and overloaded. Workers that do not find back are what Celery's users on Redis report most
  often; they look alive, and the queue grows until somebody restarts them.

  Rule: A task that was accepted survives a restart of the broker

    @celery-107 @disruptive
    Scenario: with an append-only file, what waits is kept
      Given a broker of its own with 0 workers
      When 20 tasks "stamp" are sent with []
      And the broker is killed and started again
      And a worker starts
      Then all of them are processed within 20 seconds
      And each of them ran exactly once

    @celery-108 @disruptive
    Scenario: without a file, what waits is gone
      Given a broker of its own that writes nothing to disk
      When the task "stamp" is sent with []
      And the broker is killed and started again
      And a worker starts
      Then the worker still does its work within 10 seconds
      And the first task ran 0 times
      And the first task is still "PENDING"

  Rule: Workers go on by themselves

    @celery-109 @disruptive
    Scenario: an idle worker goes on when the broker was restarted
      celery#8030, celery#8091, celery#8384, celery#9054 (workers connect again and take nothing any more), the first
      attempt comes after 2 s.

      Given a broker of its own with 1 worker
      When the broker is killed and started again
      Then a task that is sent until it succeeds is done within 10 seconds
      And the worker is still the same process

    @celery-110 @disruptive @waits
    Scenario: a worker in the middle of a task survives that the broker is restarted
      It finishes what it does. What takes longer than the visibility timeout is delivered again. Celery 5.7.0 does not
      survive: see pinned.feature, and the pin in pyproject.toml.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 3 seconds, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
      When the task "linger" is sent with [2.0]
      And it has begun within 10 seconds
      And the broker is killed and started again
      Then whoever asks anew reads "SUCCESS" within 20 seconds
      And a task that is sent until it succeeds is done within 20 seconds
      And the worker is still the same process

    @celery-111 @disruptive @known_limit
    Scenario: a worker that cancels what runs ends when the broker is away
      `worker_cancel_long_running_tasks_on_connection_loss` saves work done twice when a connection drops, but the worker
      cannot write to a broker that is away that it has cancelled something (celery 5.6.3). Leave it off.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING            | VALUE |
        | WORKER_CONCURRENCY | 1     |
        | CANCEL_ON_LOSS     | 1     |
      When the task "linger" is sent with [60]
      And it has begun within 10 seconds
      And the broker is away
      Then the worker ends with exit code 1 within 20 seconds
      When the broker is back
      And another worker starts beside it
      Then the worker still does its work within 10 seconds

    @celery-112 @disruptive @waits
    Scenario: a worker goes on when the broker was away for a while
      Given a broker of its own with 1 worker
      When the broker is away
      And 3 seconds have passed
      And the broker is back
      Then a task that is sent until it succeeds is done within 15 seconds
      And the worker is still the same process

    @celery-113 @disruptive @waits
    Scenario: a worker goes on when the broker hung for longer than it waits for an answer
      Without `socket_timeout` it would wait for ever for what was asked meanwhile.

      Given a broker of its own with 0 workers
      And a worker whose visibility timeout is 60 seconds, with these settings
        | SETTING        | VALUE |
        | WORKER_POOL    | solo  |
        | SOCKET_TIMEOUT | 2     |
      When the broker hangs for 3 seconds
      Then a task that is sent until it succeeds is done within 15 seconds
      And the worker is still the same process

    @celery-114 @disruptive
    Scenario: a worker that is started before its broker waits for it
      Given a broker of its own with 0 workers
      When the broker is away
      And a worker is started meanwhile
      And it has failed to connect within 2 seconds
      And the broker is back
      Then that worker becomes ready
      And the worker still does its work within 10 seconds

    @celery-115 @disruptive
    Scenario: a worker goes on when somebody has deleted everything
      What waited or ran is lost to Redis, as after a restart without a file.

      Given a broker of its own with 1 worker
      When somebody deletes all keys of the broker
      Then the worker still does its work within 10 seconds
      And the worker is still the same process
