Feature: What others put into the queue does no harm
  Whoever reaches the broker can put anything into a queue. A worker that trusts it runs the code of strangers, and a
  worker that stumbles over it stops working for everybody.

  Rule: A payload that could carry code is refused

    @celery-056
    Scenario: a pickled task is refused, and the worker goes on
      Given a broker with its worker
      When the task "stamp" is sent with [] and these options
        | OPTION     | VALUE    |
        | serializer | "pickle" |
      Then the worker still does its work within 10 seconds
      And the first task is still "PENDING"
      And the worker's log says "Refusing to deserialize untrusted content of type pickle"

  Rule: What does not decode is dropped

    @celery-057 @known_limit
    Scenario: an object that looks like one of kombu's own never reaches its task, and nobody is told
      kombu writes what JSON does not know, such as a date, as an object with `__type__` and `__value__`, and takes any
      other object with both for that. What users typed in is sent as a text: a JSON document inside of JSON.

      Given a broker with its worker
      When the task "echo" is sent with [{"__type__": "x", "__value__": 1}]
      Then the worker still does its work within 10 seconds
      And the first task is still "PENDING"
      And the worker's log says "Unsupported type"

  Rule: Only who holds the key can give orders

    @celery-058 @disruptive
    Scenario: with message signing, an unsigned task is refused
      Given a broker with a worker that accepts only signed tasks
      When the task "stamp" is sent with []
      And the task "add" is sent with [20, 22] and signed
      Then the last task is "SUCCESS" within 10 seconds
      And the first task is still "PENDING"

  Rule: What is no task at all stops a worker

    kombu reads the envelope before anything of Celery can catch an error (celery#7975, celery#4308). So nothing but
    Celery may write to a broker: give other writers a server of their own, or a user without rights on the queues
    (see security.feature), and let a supervisor start workers again.

    @celery-059 @disruptive @known_limit
    Scenario: an element that is not JSON ends the worker
      Given a broker of its own with 1 worker
      When "not json" is put into the queue by hand
      Then the worker ends with exit code 1 within 10 seconds

    @celery-060 @disruptive @known_limit
    Scenario: an element without an envelope costs the worker its connection, and it goes on
      Given a broker of its own with 1 worker
      When "{}" is put into the queue by hand
      Then the worker still does its work within 20 seconds
      And the worker's log says "KeyError: 'properties'"
