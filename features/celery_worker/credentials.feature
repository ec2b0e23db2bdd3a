@disruptive @slow
Feature: Rotated credentials: tasks flow while login and certificate of the broker change
  A worker keeps its connections for weeks. If it cannot get the new login, it stops at the first lost connection, long
  after the rotation. Broker, results and remote control have separate pools, and each must get the login.

  Rule: With an overlap, in which old and new login work, no task is lost and no sender fails

    @celery-250
    Scenario Outline: a worker with the login from <CREDENTIALS> runs every task through a rotation
      `?credential_provider=module.Class` in the URL reaches the broker, the results and the control commands. The
      setting `redis_backend_credential_provider` reaches the results alone.

      Given an isolated broker
        | SETTING     | VALUE         |
        | credentials | <CREDENTIALS> |
      And a worker
      When 20 tasks "stamp" are sent with [0.02]
      And the clients get a new login <OVERLAP> before the old one ends
      And 20 tasks "stamp" are sent with [0.02]
      Then all tasks are processed within 20 seconds
      And each task ran exactly once
      And worker 1 is still the same process
      When worker 1 is pinged once
      Then exactly 1 ping was answered

      Examples:
        | CREDENTIALS | OVERLAP          |
        | a file      | 100 milliseconds |
        | a stream    | 5 seconds        |

  Rule: Without an overlap, a worker waits for the new login

    @celery-251
    Scenario: a worker whose login is late keeps its running task, and works again with the next login
      Given an isolated broker
        | SETTING     | VALUE  |
        | credentials | a file |
      And a worker
      When the task "stamp" is sent with [0.6]
      And a worker has begun the task
      And the clients get a new login 1 second after the old one ends
      Then worker 1 processes tasks again within 8 seconds
      And all tasks are processed within 5 seconds
      And the task ran exactly once
      And worker 1 is still the same process

  Rule: TLS: a new certificate needs no restart

    @celery-252
    Scenario: a worker runs every task through the change to a certificate of a new authority
      The file of trusted authorities holds the old and the new one before the broker shows the new certificate.

      Given an isolated broker
        | SETTING | VALUE |
        | tls     | yes   |
      And a worker
      When 20 tasks "stamp" are sent with [0.02]
      And the setting "tls" of the broker becomes "another authority"
      And 20 tasks "stamp" are sent with [0.02]
      Then all tasks are processed within 20 seconds
      And each task ran exactly once
      And worker 1 is still the same process
