Feature: Many tasks are sent at once
  A nightly job sends a hundred thousand tasks. One at a time, each costs a round trip and half a millisecond of
  processor time; in batches, a ninth of that.

  Rule: Tasks that are sent in batches are tasks like others

    @celery-016
    Scenario: each of 500 tasks that were sent in batches runs once
      Given a worker of its own with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
      When 500 tasks "stamp" are sent in batches with []
      Then all of them are processed within 30 seconds
      And each of them ran exactly once

    @celery-017
    Scenario: batches are faster
      Given a broker with its worker
      And a queue of its own that nobody serves
      When 1000 tasks are sent one by one, and 1000 in batches
      Then those in batches took at least 2.5 times less processor time
      And 2000 tasks wait in the queue
