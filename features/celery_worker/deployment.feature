Feature: Scaling workers and filling brokers: accepted tasks are kept
  Deployments scale, share servers and fill up. An accepted task must survive scaling down, a second application on the
  same server, and a broker without free memory. A broker with the wrong eviction policy drops the whole queue without
  an error.

  Rule: Elastic scaling: no task is lost while workers come and go

    @celery-038
    Scenario: workers are added and taken away under load
      Given a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When 40 tasks "stamp" are sent with [0.03]
      And a worker starts
      And a worker starts
      And 80 tasks "stamp" are sent with [0.03]
      And worker 1 is stopped
      Then all tasks are processed within 30 seconds
      And each task ran exactly once
      And worker 2 has at least 1 processed task

    @celery-039
    Scenario Outline: a worker with the flags <FLAGS> waits <BOUND> for other workers at its start
      By default a worker asks its neighbours which tasks were revoked, and waits a second (mingle). Without mingle, it
      runs its first task after 0.4 s instead of 1.4 s. Workers that autoscale need that.

      Given an isolated broker
      When a worker starts
        | SETTING | VALUE   |
        | pool    | solo    |
        | flags   | <FLAGS> |
      Then the wait for other workers took <BOUND>

      Examples:
        | FLAGS                                                 | BOUND                     |
        | --without-heartbeat                                   | between 0.9 and 5 seconds |
        | --without-mingle --without-gossip --without-heartbeat | exactly 0 seconds         |

  Rule: Backlog: the length of a queue and the age of its oldest task are readable

    @celery-040
    Scenario: the queue length and the age of the oldest task are readable while no worker takes them
      An alarm on the age alone finds both a queue that grows and a queue without a worker. See
      redis_practices.celery_worker.queue_age.

      Given an isolated queue
      When these tasks are sent
        | TASK  | ARGUMENTS | PRIORITY |
        | stamp | []        | 0        |
        | stamp | []        | 9        |
        | stamp | []        | 9        |
      And 1.1 seconds have passed
      And the queue is measured
      Then the measurements are
        | MEASUREMENT            | BOUND                   |
        | waiting tasks          | exactly 3               |
        | age of the oldest task | between 1 and 3 seconds |
      When a worker starts
      Then all tasks are processed within 10 seconds
      And the queue has exactly 0 waiting tasks

  Rule: Multi-tenancy: applications on one server have separate keys

    @celery-041
    Scenario: an application with a key prefix writes only keys with this prefix
      Given an isolated broker
        | SETTING    | VALUE |
        | key prefix | app1: |
      And a worker
      When a worker performs these operations
        | OPERATION            |
        | a task with a result |
        | a chord              |
        | an answer to a ping  |
      Then every key of the broker matches "app1:.*"

  Rule: Backpressure: a full broker refuses new tasks and keeps the accepted ones

    @celery-042
    Scenario Outline: a full broker with the policy <POLICY> keeps accepted tasks and refuses new ones
      Given an isolated broker
        | SETTING          | VALUE    |
        | maxmemory        | 8mb      |
        | maxmemory-policy | <POLICY> |
      When the queue is filled with tasks
      And the task "add" is sent with [4, 8]
      Then the send failed with "command not allowed when used memory > 'maxmemory'"
      And the send took at most 6 seconds
      And the queue has exactly 0 lost tasks

      # noeviction is the safe one. volatile-lru evicts results, which have a ttl, and keeps tasks, which have none.
      Examples:
        | POLICY       |
        | noeviction   |

      @slow
      Examples: more
        | POLICY       |
        | volatile-lru |

    @celery-043 @known_limit
    Scenario: a full broker with the policy allkeys-lru drops accepted tasks without an error
      A queue is one key, and it is evicted as a whole. Celery's documentation names this policy; do not use it for
      tasks.

      Given an isolated broker
        | SETTING          | VALUE       |
        | maxmemory        | 8mb         |
        | maxmemory-policy | allkeys-lru |
      When the queue is filled with tasks
      Then the queue has at least 50 lost tasks

    @celery-044 @known_limit @disruptive
    Scenario: a full broker ends its worker, and may lose the one task that it was taking
      A worker takes a task off the queue and only then notes it, and for the note there is no memory (celery#5716).
      Raise an alarm long before. Send again what has no effect in time: see redis_practices.celery_worker.delivery.

      Given an isolated broker
        | SETTING   | VALUE |
        | maxmemory | 8mb   |
      And a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When 10 tasks "stamp" are sent with [0.3]
      And the broker is filled
      And the setting "maxmemory" of the broker becomes "4mb"
      Then worker 1 exits with 1
      When the setting "maxmemory" of the broker becomes "64mb"
      And a worker starts
      Then worker 2 still processes tasks
      And the queue has at most 1 lost task
