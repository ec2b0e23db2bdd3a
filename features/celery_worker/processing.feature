Feature: A task is processed by a worker in the background
  A web request hands slow work to a task queue and answers at once. It relies on three things: another process does the
  work, the result comes back, and more workers do more work. Where one fails, requests hang or work is left undone.

  @core
  Rule: A task is processed asynchronously, by another process

    @celery-081 @waits
    Scenario: a sender does not wait for the task of 4 seconds that it sends
      Sending takes milliseconds; half of the task's time leaves room for a busy machine.

      Given a worker
      When the task "sleep" is sent with [4]
      Then the send took at most 2 seconds
      And the result arrives within 10 seconds
      And worker 1 has exactly 1 processed task

    @celery-082
    Scenario: a worker returns the sum of two numbers
      Remedy: read the first error in the worker's log below the failure. For a missing right,
      `python src/broker_user.py` prints the rights of a worker's user.

      Given a worker
      When the task "add" is sent with [20, 22]
      Then the result is 42

  Rule: A value arrives as it was sent

    @celery-083
    Scenario: random JSON values reach the worker and return unchanged
      Objects with the keys `__type__` and `__value__` are the exception: see hostile.feature.

      Given a worker
      Then "a value returns as it was sent" holds for 25 values

  Rule: A failed task raises its error where its result is read

    @celery-084
    Scenario: the error of a task is raised where its result is read
      Given a worker
      When the task "fail" is sent with ["no such order"]
      And the result is read
      Then the task failed with "ValueError: no such order"

  Rule: Workers of one queue share its tasks

    @celery-085
    Scenario: two workers share a batch of tasks
      Given 2 workers
      When 12 tasks "sleep" are sent with [0.3]
      Then all tasks are processed within 20 seconds
      And worker 1 has at least 3 processed tasks
      And worker 2 has at least 3 processed tasks
