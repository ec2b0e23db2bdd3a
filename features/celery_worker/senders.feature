Feature: A sender knows in time whether its task was taken
  A web request sends a task and answers a customer. When Redis is away, Celery by itself tries for 19 seconds, and for
  ever when Redis hangs: one dead broker then stops every web process.

  Rule: Sending fails within its time, in one line that says why

    @celery-103 @disruptive
    Scenario Outline: with a broker that <trouble>
      Given a broker that <trouble>
      Then publishing a task fails within 3 seconds with "<words>"
      And send_task.py fails within 8 seconds with "<words>"

      # Both were told to give up after 2 seconds; the script asks twice, and looks at the broker before.
      Examples:
        | trouble                | words                                             |
        | is down                | refuses the connection: nothing listens there     |
        | hangs                  | did not answer within                             |
        | is full                | command not allowed when used memory              |
        | is a replica           | can't write against a read only replica           |
        | wants another password | refuses the user or password                      |

  Rule: What no worker could read is refused by the sender

    @celery-104
    Scenario: what JSON does not know cannot be sent, wherever in a value it is
      Sets, objects, functions, complex numbers: a sender hears of it at once, and not a worker later.

      Then each of 50 values with something else inside is refused, and nothing is sent
