Feature: Tasks that belong together finish together
  A report is fetched, split, computed in parts and put together again. When one part fails, whoever waits for the
  whole must hear of it at once, and not when patience ends.

  Rule: A result is handed from task to task

    @celery-122
    Scenario: a chain adds up
      Given a broker with its worker
      When the chain add(1, 2), add(10), add(100) is sent
      Then these results come back within 10 seconds
        | RESULT |
        | 113    |

    @celery-123
    Scenario: the results of a group come back in the order of its members
      Given a broker with its worker
      When a group of 20 tasks is sent
      Then the results of its 20 members come back in order within 10 seconds

  Rule: The end of a chord sees the results of all its members

    @celery-124
    Scenario: a chord of 50 members
      Given a broker with its worker
      When a chord of 50 members is sent
      Then the sum of its 50 members comes back within 10 seconds

    @celery-125 @waits
    Scenario: a chord of 1,000 members
      A member costs its worker several round trips, one after another. All of them take 5 milliseconds where the broker
      is near, up to 100 where it is far away or where ten others wait for each processor. It has a worker to
      itself, so that nobody's task waits behind all of these.

      Given a worker of its own with these settings
        | SETTING     | VALUE |
        | WORKER_POOL | solo  |
      When a chord of 1000 members is sent
      Then the sum of its 1000 members comes back within 100 seconds

    @celery-126
    Scenario: a member that fails is heard of at once
      Given a broker with its worker
      When a chord with a failing member is sent
      Then it fails with "ValueError: member" within 10 seconds
