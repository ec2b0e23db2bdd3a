Feature: Results come at once and go away again
  A result is a key in the broker's memory. When nobody reads it, and nothing takes it away, the broker fills up, and a
  full broker takes no more tasks.

  Rule: Nothing that a task leaves behind stays for ever

    @celery-086
    Scenario: every result has a time to live
      Given a broker with its worker
      When the task "add" is sent with [4, 8]
      Then its result comes back within 10 seconds
      And its result is kept for between 60 and 86400 seconds

    @celery-087 @waits
    Scenario: when the results of 200 tasks have expired, nothing is left of them
      Only what says which queues there are has no time to live, and it does not grow.

      Given a broker of its own with a worker whose results expire after 1 second
      When 200 tasks "add" are sent with [4, 8]
      And the worker has taken 200 of them
      Then within 5 seconds the broker holds no keys but these
        | KEY             |
        | _kombu.binding* |

    @celery-088
    Scenario: a task without a result leaves none
      Given a broker with its worker
      When the task "stamp" is sent with [] and these options
        | OPTION        | VALUE |
        | ignore_result | true  |
      And it has begun within 10 seconds
      Then the worker still does its work within 10 seconds
      And the first task has left no result

    @celery-089
    Scenario: a result that is forgotten is gone at once
      Given a broker with its worker
      When the task "add" is sent with [4, 8]
      And its result comes back within 10 seconds and is forgotten
      Then the first task has left no result

    @celery-090 @waits
    Scenario: a result that has expired looks like a task that never ran
      Whoever may ask late keeps the state of the work where it belongs: in the database, written by the task.

      Given a broker of its own with a worker whose results expire after 1 second
      When the task "stamp" is sent with []
      And it has begun within 10 seconds
      And 2 seconds have passed
      Then a newcomer sees the first task as "PENDING"

    @celery-091
    Scenario: a result weighs little
      Given a broker with its worker
      When 100 tasks "add" are sent with [4, 8]
      Then all of them are processed within 20 seconds
      And each of their results takes at most 500 bytes

  Rule: Waiting for a result costs the broker nothing
    A message says that it is there. Of a few thousand, one is missed by who waits, on a busy machine (celery#4039, with
    celery 5.6.3 and redis-py 8.1 too): redis_practices.celery_worker.sending looks again every 5 s.

    @celery-092
    Scenario: who waits is told, and does not ask again and again
      Given a broker with its worker
      When the broker's commands are watched
      And the task "sleep" with 1 second is sent
      Then its result comes back within 10 seconds
      And the broker got these commands about it
        | COMMAND   | NUMBER    |
        | SUBSCRIBE | exactly 1 |
        | GET       | at most 3 |

    @celery-093
    Scenario: results that are asked for first are there as soon as the last task is done
      Given a broker with its worker
      When 3 tasks "add" are sent with [4, 8]
      And the task "sleep" with 0.3 seconds is sent
      Then the result of the last comes back within 10 seconds
      And taking the others, each asked first whether it is ready, takes at most 0.5 seconds

    @celery-094 @known_limit
    Scenario: results that came while another was waited for take a second each
      `AsyncResult.get` then waits for a message that has come already, until its interval of 1 second is over. `ready()`
      before `get()` takes what is there; so does `ResultSet.join`.

      Given a broker with its worker
      When 3 tasks "add" are sent with [4, 8]
      And the task "sleep" with 0.3 seconds is sent
      Then the result of the last comes back within 10 seconds
      And taking the others, one after the other, takes at least 1 second
