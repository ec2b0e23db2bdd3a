@workers @audit
Feature: The running workers have the settings of this practice
  A broker may be well, and its workers not. Each of these defects shows while the workers run: in their answers to
  remote control, in their queues, in their record of unacknowledged tasks. No task is sent, and no code is read.

  Rule: A task ends

    @celery-200
    Scenario: every task has a time limit
      A task that waits for ever holds its process for ever. Only prefork workers enforce limits.
      Remedy: `task_time_limit = 3300` and `task_soft_time_limit = 3000` in the app's settings, below the visibility
      timeout.

      Given the workers under test
      Then there are no tasks without time limit

  Rule: A message is data, never code

    @celery-201
    Scenario: no worker accepts pickle
      A client that can write to the broker can then run code in the worker.
      Remedy: `accept_content = ["json"]` and `task_serializer = "json"` in the app's settings.

      Given the workers under test
      Then there are no workers that accept pickle
