Feature: What is due is sent once
  `celery beat` sends what a timetable says. It remembers in a file what it has sent; what is not in the file, it sends
  again. Nothing keeps two of them from running.

  Rule: A beat that is started again does not send again what it has sent

    @celery-095 @waits
    Scenario Outline: a beat that is <ended> goes on where it was
      Given a beat that sends a task every 3 seconds
      When the beat is <ended> after the first task and started again
      Then the next task is sent at least 2 seconds after the first

      # One that had forgotten sends as soon as it is back, 0.6 s later on a quiet machine. On a busy one the first task
      # is late by the time that connecting takes, and the next is not.
      Examples:
        | ended   |
        | stopped |
        | killed  |

    @celery-096 @known_limit @waits
    Scenario: a beat that writes its file every 3 minutes sends again when it was killed
      That is Celery's default. `beat_sync_every=1` writes the file after each task that was sent: see src/worker.py.
      It cannot where Python's dbm is Berkeley DB, as on Debian: nothing is in the file until a beat ends by itself.

      Given a beat that sends a task every 6 seconds with the setting BEAT_SYNC_EVERY=0
      When the beat is killed after the first task and started again
      Then the next task is sent within 4 seconds of the beat's return

  Rule: There is one beat

    @celery-097 @known_limit @waits
    Scenario: two beats send everything twice
      Nothing in Celery sees to it. Run one replica, with a strategy that stops the old one before it starts the new, or
      make the tasks idempotent.

      Given a beat that sends a task every 3 seconds
      And a second beat like it
      Then the next task is sent within 2.5 seconds after the first
