Feature: Chains, groups and chords finish together
  A report is fetched, split, computed in parts and put together again. Its reader needs all parts in order, or the error
  of a failed part. A reader that has the result object gets the error at once. A reader that has only the id gets it
  when all other parts have ended.

  With Celery alone a chord waits for ever if a member is unknown or drops its message. If a member is delivered twice, the
  chord may get it twice and miss another. Use `redis_practices.celery_worker.workflows`.

  Rule: A chain hands each result to the next task

    @celery-122
    Scenario: a chain of 3 additions ends with their sum
      Given a worker
      When a chain of 3 tasks is sent
      Then the result is 4

  Rule: A group returns its results in the order of its members

    @celery-123
    Scenario: a group of 20 tasks returns 20 results in order
      Given a worker
      When a group of 20 tasks is sent
      Then the result is [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38]

  Rule: The end of a chord gets the results of all members

    @celery-124
    Scenario: a chord of 50 tasks ends with the sum of all
      Given a worker
      When a chord of 50 tasks is sent
      Then the result is 2450

    @celery-125 @waits
    Scenario Outline: a chord of <MEMBERS> tasks ends within <LIMIT> seconds with the sum of all
      A member costs its worker several round trips, one after another. Together they take 5 milliseconds near the
      broker, and up to 100 far away or on a busy machine. No other scenario uses this worker.

      Given a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When a chord of <MEMBERS> tasks is sent
      Then the result arrives within <LIMIT> seconds
      And the result is <SUM>

      Examples:
        | MEMBERS | LIMIT | SUM   |
        | 200     | 20    | 39800 |

      @slow
      Examples: more
        | MEMBERS | LIMIT | SUM    |
        | 1000    | 100   | 999000 |

  Rule: A chord with a member that cannot return ends with the error of that member

    @celery-126
    Scenario Outline: a chord with a member that <MEMBER> fails with <ERROR>
      Given a worker
      When a chord of 3 tasks is sent
        | OPTION         | VALUE    |
        | failing member | <MEMBER> |
      And the result is read
      Then the task failed with "<ERROR>"

      Examples:
        | MEMBER            | ERROR              |
        | fails             | ValueError: member |
        | is unknown        | NotRegistered      |
        | drops its message | Reject             |
        | has expired       | TaskRevokedError   |
