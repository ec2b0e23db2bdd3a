Feature: The release of Celery is pinned for a reason
  A pin that nobody remembers the reason of is never lifted. This one stands in pyproject.toml; here is what it is for,
  and what must become red on the day that it can go.

  Rule: Celery 5.6.3 is used, because newer workers do not survive a restart of the broker

    @slow @disruptive @known_limit
    Scenario: a worker of Celery 5.7.0 in the middle of a task ends when the broker is restarted
      It ends when it still has room for another task and its own has ended: `'NoneType' object has no attribute
      'hostname'`. When this scenario fails, upstream has mended it: see trouble.feature, and lift the pin.

      Given a broker of its own with 0 workers
      And a worker of Celery 5.7.0
      When the task "linger" is sent with [2.0]
      And it has begun within 10 seconds
      And the broker is killed and started again
      Then the worker ends with exit code 1 within 20 seconds
      And the worker's log says "object has no attribute 'hostname'"
