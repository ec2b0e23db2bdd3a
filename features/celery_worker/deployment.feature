Feature: Workers come and go, and the broker keeps what it took
  Deployments scale, move and fill up. A task that was accepted must survive all of it: the worker that is taken away,
  the second application on the same server, the memory that runs out.

  Rule: Nothing is lost while workers come and go

    @celery-038
    Scenario: workers are added and taken away under load
      Given a worker of its own with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
      When 40 tasks "stamp" are sent with [0.03]
      And 2 more workers of its queue start
      And 80 tasks "stamp" are sent with [0.03]
      And the first worker is stopped
      Then all of them are processed within 30 seconds
      And each of them ran exactly once
      And at least 2 workers did a part of them

    @celery-039
    Scenario Outline: a worker that starts with <FLAGS> waits <BOUND> for others to answer
      By default it asks its neighbours what was revoked, and gives them a second. One that has none, or remembers what
      was revoked, need not: it does its first task after 0.4 s instead of 1.4, which is what a scale-up is about.

      Given a broker of its own with 0 workers
      When a worker starts with the flags "<FLAGS>"
      Then it has waited <BOUND> for others to answer

      Examples:
        | FLAGS                                                 | BOUND                     |
        | --without-heartbeat                                   | between 0.9 and 5 seconds |
        | --without-mingle --without-gossip --without-heartbeat | exactly 0 seconds         |

  Rule: What waits can be seen

    @celery-040
    Scenario: the length of a queue and the age of its oldest task are readable
      An alarm on the age alone finds both a queue that grows and one that nobody serves. See
      redis_practices.celery_worker.queue_age.

      Given a worker that does one task at a time
      When tasks with these priorities wait for it
        | PRIORITY |
        | 0        |
        | 9        |
        | 9        |
      And 1 seconds have passed
      Then 3 tasks wait in its queue, the oldest for between 1.0 and 3 seconds
      When the worker begins with its queue
      Then all of them are processed within 10 seconds
      And no task waits in its queue

  Rule: Applications on one server do not meet

    @celery-041
    Scenario: with a prefix of its own, an application leaves every other key alone
      Given a broker of its own whose workers and senders have the prefix "app1:"
      When the task "add" is sent with [4, 8]
      Then its result comes back within 10 seconds
      And every key of the broker begins with "app1:"

  Rule: The broker keeps every task that it took

    @celery-042
    Scenario Outline: a broker that fills up with <policy> keeps what it took and refuses the rest
      Given a broker of its own with 8 MB of memory, full, and the policy "<policy>"
      Then exactly 0 % of the tasks that it took are gone
      And sending one more fails within 6 seconds with "command not allowed when used memory > 'maxmemory'"

      # noeviction is the safe one. volatile-lru gives up results, which have a time to live, for tasks, which have none.
      Examples:
        | policy       |
        | noeviction   |
        | volatile-lru |

    @celery-043 @known_limit
    Scenario: a broker that evicts any key drops tasks without a word
      A queue is one key, and it is evicted whole. Celery's documentation names this policy; do not take it for tasks.

      Given a broker of its own with 8 MB of memory, full, and the policy "allkeys-lru"
      Then at least 10 % of the tasks that it took are gone

    @celery-044 @known_limit @disruptive
    Scenario: a broker that fills up ends its workers, and may swallow what one was about to take
      A worker takes a task off the queue and only then writes it down, for which there is no room (celery#5716). Where it
      had one to finish instead, it fails on that and loses nothing. Raise an alarm long before, and send again what has
      no effect in time: see redis_practices.celery_worker.delivery. More memory mends the rest.

      Given a broker of its own with 8 MB of memory and a worker
      When 10 tasks "stamp" are sent with [0.3]
      And others fill the broker
      And the broker has 4 MB of memory
      Then the worker ends with exit code 1 within 20 seconds
      When the broker has 64 MB of memory
      And a worker starts
      Then the worker still does its work within 20 seconds
      And at most 1 of the 10 tasks before it never ran
