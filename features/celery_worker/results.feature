Feature: Results arrive at once and expire
  A result is a key in the broker's memory. Results that no reader takes and that never expire fill the broker, and a full
  broker refuses tasks. A reader that polls for its result costs the broker a command each time.

  Rule: Every result expires

    @celery-086
    Scenario: a result has a ttl between 1 minute and 1 day
      Given a worker
      When the task "add" is sent with [4, 8]
      And the result is read
      Then the measurement "ttl of the result" is between 60 and 86400 seconds

    @celery-087 @waits @slow
    Scenario: the broker keeps neither tasks nor results of 200 tasks whose results expired after 1 second
      The names of queues have no ttl. With Celery alone their number grows by one with each worker that is killed and
      comes back under another name. `redis_practices.celery_worker.transport` removes the names of killed workers.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE    |
        | pool           | solo     |
        | result expires | 1 second |
      When 200 tasks "add" are sent with [4, 8]
      And all results are read
      Then the broker holds no task within 5 seconds
      And the broker has exactly 0 stored results within 5 seconds

    @celery-088
    Scenario: a task that ignores its result stores none
      Given a worker
      When the task "stamp" is sent with []
        | OPTION        | VALUE |
        | ignore result | yes   |
      And a worker has begun the task
      Then worker 1 still processes tasks
      And the task has exactly 0 stored results

    @celery-089
    Scenario: a forgotten result is deleted at once
      Given a worker
      When the task "add" is sent with [4, 8]
      And the result is read
      And the task is forgotten
      Then the task has exactly 0 stored results

    @celery-090 @waits
    Scenario: a task whose result has expired is PENDING, like a task that never ran
      Keep a state that is asked for later in the database, and let the task write it.

      Given an isolated broker
      And a worker
        | SETTING        | VALUE    |
        | pool           | solo     |
        | result expires | 1 second |
      When the task "stamp" is sent with []
      And a worker has begun the task
      And 2 seconds have passed
      Then the state of the task is "PENDING"

    @celery-091
    Scenario: the result of an addition takes at most 500 bytes
      Given a worker
      When the task "add" is sent with [4, 8]
      Then the result has at most 500 bytes

  Rule: A reader is notified of its result, and does not poll
    On a busy machine Celery misses one notification in a few thousand (celery#4039, with celery 5.6.3 and redis-py 8.1
    too). `redis_practices.celery_worker.sending` looks again every 5 seconds.

    @celery-092
    Scenario: a reader that waits 1 second for its result subscribes once, and reads at most 3 times
      Given a worker
      When the task "sleep" is sent with [1]
        | OPTION         | VALUE |
        | count commands | yes   |
      And the result is read
      Then the measurements are
        | MEASUREMENT                 | BOUND     |
        | subscriptions to the result | exactly 1 |
        | reads of the result         | at most 3 |

    @celery-093
    Scenario: 3 results that were ready before another are read at once
      Given a worker
      When 3 tasks "add" are sent with [4, 8]
      And the task "sleep" is sent with [0.3]
      And the result is read
      And all results are read
      Then the read of the results took at most 0.5 seconds

    @celery-094
    Scenario: get() without ready() takes up to 1 second for each result that was ready before another
      In Celery 5.6 `AsyncResult.get` waits for a notification that has come already, until its interval of 1 second is
      over; in 5.7 it does not. `ready()` before `get()` takes the result that is there; so does `ResultSet.join`.

      Given a worker
      When 3 tasks "add" are sent with [4, 8]
      And the task "sleep" is sent with [0.3]
      And the result is read
      And all results are read
        | OPTION     | VALUE |
        | look first | no    |
      Then the read of the results took at most 3.5 seconds
