Feature: A scheduled task is sent once
  `celery beat` sends the tasks of a timetable. It notes in a file when it sent each task, and sends a task again that
  the file lacks. A nightly invoice run goes out twice after a restart that lost the file, or with two beats.

  Rule: A restarted beat sends no task again

    @celery-095 @waits
    Scenario Outline: a beat that is <FAULT> and started keeps its timetable of 3 seconds
      A beat without its file sends at once, 0.6 seconds later on an idle machine. On a busy one the first task is late
      by the time that connecting takes, and the next is not.

      Given a beat that sends a task every 3 seconds
      When the beat has sent 1 task
      And the beat is <FAULT>
      And the beat is started
      And the beat has sent 2 tasks
      Then the measurement "interval of the tasks" is at least 2 seconds

      Examples:
        | FAULT  |
        | killed |

      @slow
      Examples: more
        | FAULT   |
        | stopped |

    @celery-096 @known_limit @waits
    Scenario: a killed beat that writes its file every 3 minutes sends a task again
      That is Celery's default. `beat_sync_every=1` writes the file after each task: see `worker.py`. It has no effect
      where Python's dbm is Berkeley DB, as on Debian: the file stays empty until the beat is stopped.

      Given a beat that sends a task every 6 seconds
        | SETTING    | VALUE |
        | sync every | 0     |
      When the beat has sent 1 task
      And the beat is killed
      And the beat is started
      And the beat has sent 2 tasks
      Then the measurement "time to the next task" is at most 4 seconds

  Rule: One beat sends the timetable

    @celery-097 @known_limit @waits
    Scenario: two beats send every task twice
      Celery does not prevent it. Run one beat, and let a deployment stop the old beat before it starts the new one, or
      make the tasks idempotent.

      Given 2 beats that send a task every 3 seconds
      When the beat has sent 2 tasks
      Then the measurement "interval of the tasks" is at most 2.5 seconds
