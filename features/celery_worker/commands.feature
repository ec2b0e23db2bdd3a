@audit
Feature: The commands of Celery are answered as Celery expects
  A worker uses more of a server than most applications: blocking reads, transactions that watch a key, scripts, patterns.
  A proxy that changes one of them loses tasks. So each command that Celery sends is tried many times, and
  `tests/test_sent_commands.py` compares them with the server's own record. A defect of one command in 100 is found with
  a probability of 99 % by 500 trials, 87 % by 200 trials and 63 % by 100 trials.

  @core
  Rule: A worker can wait for a task

    @celery-140
    Scenario: a worker that waits gets each task that is pushed, once and in order
      A worker waits for all lists of a queue at once (BRPOP), so most tasks come while it waits.
      Remedy: connect without the proxy or pooler, or give it a mode that supports blocking commands.

      Given the broker under test
      When the broker serves 200 items for a waiting worker
      Then exactly 0 items were lost or out of order

  @core
  Rule: What a worker writes down about a task stays

    @celery-141
    Scenario: the broker keeps the records of tasks that workers have taken
      A task that a killed worker held is found by its record, and given to another worker. A lost record is a lost task.
      Remedy: connect without the proxy, since a Redis server loses no acknowledged record; an engine before Redis 6.2
      lacks ZRANGE with BYSCORE, so upgrade it.

      Given the broker under test
      When the broker serves 200 task records
      Then exactly 0 replies were wrong

    @celery-144
    Scenario: the broker keeps the tables of queues, and grants the lock of a worker once
      Celery finds the queues of a fanout in a set, and control commands reach no worker without it. The lock keeps two
      workers from giving back the same task.
      Remedy: connect without the proxy, or let it pass SADD, SMEMBERS, SREM and SET with NX unchanged.

      Given the broker under test
      When the broker serves 200 queue tables
      Then exactly 0 replies were wrong

    @celery-146
    Scenario: the broker refuses a transaction whose watched key another client has changed
      A worker that gives a task back watches the records of all tasks. Without WATCH two workers give back the same
      task, and it runs twice.
      Remedy: connect without a proxy that shares connections between clients;
      `ACL SETUSER <user> +watch`.

      Given the broker under test
      When the broker serves 100 watched transactions
      Then exactly 0 transactions were split

    @celery-145
    Scenario: the broker runs scripts whole and by their digest
      kombu's table of queues, this project's chords, its `once` and its batch transport are scripts.
      Remedy: `ACL SETUSER <user> +@scripting`, or a proxy that passes EVAL and EVALSHA to one server.

      Given the broker under test
      When the broker serves 100 scripts
      Then exactly 0 replies were wrong

  @core
  Rule: Results reach the sender that waits for them

    @celery-142
    Scenario: the broker keeps a result with its ttl until it is forgotten
      A result without ttl fills the broker's memory, and one that is deleted too early makes its sender wait for ever.
      Remedy: connect without the proxy, or let it pass SETEX, MGET and DEL unchanged.

      Given the broker under test
      When the broker serves 200 stored results
      Then exactly 0 replies were wrong

    @celery-143
    Scenario: the broker counts and orders the parts of a chord
      The body of a chord runs when its last part is counted. One lost part, and it never runs.
      Remedy: connect without the proxy, since a Redis server loses no acknowledged part;
      `CONFIG SET maxmemory-policy noeviction`.

      Given the broker under test
      When the broker serves 200 chord parts
      Then exactly 0 replies were wrong

    @celery-147
    Scenario: the broker delivers each message once and in order, by channel and by pattern
      Results come by channel, and control commands by pattern. A lost result makes its sender wait until its timeout.
      Remedy: `CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"`; connect without the proxy.

      Given the broker under test
      When the broker serves 500 messages in a row
      Then exactly 0 messages were lost or out of order
