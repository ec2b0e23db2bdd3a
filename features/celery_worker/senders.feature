Feature: A sender learns in time whether its task was taken
  A web request sends a task and answers a customer. Without a timeout, Celery tries for 19 seconds when Redis is down,
  and for ever when Redis is paused: one dead broker stops every web process. A sender that fails fast can show an error,
  or keep the task in an outbox.

  Rule: Fail fast: sending fails within its timeout, with the reason in one line

    @celery-103 @disruptive
    Scenario Outline: sending to a broker that is <FAULT> fails within 3 seconds
      Given an isolated broker
        | SETTING   | VALUE |
        | maxmemory | 1mb   |
      When the broker is <FAULT>
      And the task "add" is sent with [4, 8]
        | OPTION  | VALUE     |
        | timeout | 2 seconds |
      Then the send failed with "<ERROR>"
      And the send took within 3 seconds

      Examples:
        | FAULT   | ERROR                                         |
        | killed  | refuses the connection: nothing listens there |
        | paused  | did not answer within                         |
        | filled  | command not allowed when used memory          |
        | demoted | can't write against a read only replica       |
        | locked  | refuses the user or password                  |

  Rule: A value that JSON lacks is refused by the sender, not by the worker

    @celery-104
    Scenario: the sender refuses sets, objects, functions and complex numbers anywhere in a value
      Given an isolated queue
      Then "the sender refuses the value" holds for 50 values
      And the queue has exactly 0 waiting tasks

  Rule: Bulk sending: a batch costs a fraction of single sends, and each of its tasks runs once
    A nightly job sends 100,000 tasks. Alone, each costs a round trip and half a millisecond of processor time. In
    batches, each costs a ninth of that time on an idle machine; the bound leaves room for a busy one.

    @celery-016
    Scenario: each of 200 tasks that were sent in batches runs once
      Given a worker
        | SETTING | VALUE |
        | pool    | solo  |
      When 200 tasks "stamp" are sent with []
        | OPTION | VALUE |
        | batch  | yes   |
      And all results are read
      Then each task ran exactly once

    @celery-017
    Scenario: a batch of 1,000 tasks takes less than half the processor time of 1,000 single sends
      Given an isolated queue
      When 1000 tasks "add" are sent with [4, 8]
        | OPTION        | VALUE |
        | ignore result | yes   |
      And 1000 tasks "add" are sent with [4, 8]
        | OPTION        | VALUE |
        | ignore result | yes   |
        | batch         | yes   |
      Then the measurement "saving by the batch" is at least 2.5
      And the queue has exactly 2000 waiting tasks
