Feature: A task is processed by the worker
  Whoever hands work to a queue relies on three things: another process does it, the result comes back,
  and more workers mean more hands. Where one of them fails, requests hang or work is left undone.

  @core
  Rule: A task is processed asynchronously, by another process

    @celery-081 @waits
    Scenario: the sender goes on while the worker works
      Sending takes milliseconds; half of what the task takes shows that nobody waited for it, on a busy machine too.

      Given a broker with its worker
      When the task "sleep" with 4 seconds is sent
      Then sending took at most 2 seconds
      And its result comes back within 10 seconds
      And it was processed by another process

    @celery-082
    Scenario: the sum of two numbers comes back
      Given a broker with its worker
      When the task "add" is sent with these arguments
        | X  | Y   |
        | 4  | 8   |
        | 20 | 22  |
        | -1 | 0.5 |
      Then these results come back within 10 seconds
        | RESULT |
        | 12     |
        | 42     |
        | -0.5   |

  Rule: What is sent arrives as it was sent

    @celery-083
    Scenario: any value of JSON survives the way to the worker and back
      Given a broker with its worker
      Then each of 50 values of JSON comes back as it was sent

  Rule: A task that fails says why

    @celery-084
    Scenario: the error of a task reaches whoever waits for it
      Given a broker with its worker
      When the task "fail" with "no such order" is sent
      Then waiting for its result raises ValueError with "no such order" within 10 seconds

  Rule: Several workers share the work

    @celery-085
    Scenario: two workers divide a batch of tasks
      Given a broker with its worker
      And a second worker
      When 12 tasks that take 0.3 seconds each are sent
      Then all of them are processed within 20 seconds
      And each of the two workers processed at least 3 of them
