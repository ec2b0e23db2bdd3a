Feature: A hostile or broken message does no harm
  Every client that reaches the broker can put anything into a queue. A worker that unpickles a message runs the code of
  an attacker (remote code execution). A worker that ends at a broken one, a poison message, stops the work of all.

  Rule: Pickle: a payload that could carry code is refused

    @celery-056
    Scenario: a worker refuses a pickled task and keeps working
      Given a worker
      When the task "stamp" is sent with []
        | OPTION     | VALUE  |
        | serializer | pickle |
      Then worker 1 still processes tasks
      And the state of the task is "PENDING"
      And the log of worker 1 matches "Refusing to deserialize untrusted content of type pickle"

  Rule: A message that cannot be decoded is dropped

    @celery-057 @known_limit
    Scenario: an argument with the keys __type__ and __value__ never reaches its task
      JSON has no dates, so kombu writes a date as an object with both keys, and decodes every object that has them. Send
      user input as a text: a JSON document inside JSON.

      Given a worker
      When the task "echo" is sent with [{"__type__": "x", "__value__": 1}]
      Then worker 1 still processes tasks
      And the state of the task is "PENDING"
      And the log of worker 1 matches "Unsupported type"

  Rule: Message signing: a worker runs only tasks that a holder of the key has sent

    @celery-058 @disruptive
    Scenario: a worker with message signing refuses an unsigned task
      Given an isolated broker
      And a worker
        | SETTING | VALUE |
        | signing | yes   |
      When the task "stamp" is sent with []
      And the task "add" is sent with [20, 22]
        | OPTION  | VALUE |
        | signing | yes   |
      Then the state of the task is "SUCCESS"
      And the state of the first task is "PENDING"

  Rule: Poison message: an element that is no task stops a worker
    kombu reads the envelope before Celery can catch an error (celery#7975, celery#4308). Let nothing but Celery write to a
    broker. Give other writers another server, or a user without rights on the queues: see security.feature. Let a
    supervisor restart workers.

    @celery-059 @disruptive @known_limit
    Scenario: an element that is not JSON ends the worker
      Given an isolated broker
      And a worker
      When "not json" is pushed to the queue
      Then worker 1 exits with 1

    @celery-060 @disruptive @known_limit
    Scenario: an element without an envelope costs the worker its connection, and it reconnects
      Given an isolated broker
      And a worker
      When "{}" is pushed to the queue
      Then worker 1 still processes tasks
      And the log of worker 1 matches "KeyError.*'properties'"
