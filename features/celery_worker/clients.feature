@audit
Feature: The broker serves workers and senders steadily
  Workers and senders wait for the broker at every task. A broker that stalls or waits for its disk looks healthy in
  between, and delays all tasks.

  Rule: Answers are in time all the time

    @celery-150 @idle
    Scenario: the broker neither stalls nor answers now and then late
      Reads are sampled while the other scenarios run. A steady distance is no stall: an answer is late if it comes 150
      milliseconds later than most.
      Remedy: SLOWLOG GET and LATENCY LATEST name slow commands; else look at the processor, the swap space and the
      network of the server.

      Given the broker under test
      When the broker serves 3 seconds of reads
      Then the measurements are
        | MEASUREMENT  | BOUND            |
        | late answers | at most 2 %      |
        | longest wait | within 2 seconds |

    @celery-151
    Scenario: no command of the last 10 minutes has stalled the broker again and again
      The server runs one command at a time, so all workers wait for a slow one.
      Remedy: no KEYS and no long scripts on a broker; then `SLOWLOG RESET`.

      Given the broker under test
      Then there are no stalling commands

    @celery-152 @idle
    Scenario: the disk of the broker keeps up with its log
      A write waits if the disk has not finished the last sync after 2 seconds. Then all clients wait, and more than a
      second of tasks is not on disk. One such write may come from a snapshot or a neighbour, so after the first one the
      log is watched for 5 more seconds.
      Remedy: a faster disk, or one without neighbours; fewer bytes a task; `CONFIG SET auto-aof-rewrite-percentage 200`.

      Given the broker under test
      When the broker serves 3 seconds of its log
      Then at most 1 write was delayed

  Rule: The broker has room for every client

    @celery-153
    Scenario: the broker has refused hardly any connection
      Remedy: `CONFIG SET maxclients 10000`, and smaller pools in the senders; then `CONFIG RESETSTAT`.

      Given the broker under test
      Then the field "rejected_connections" is at most 1 % of the field "total_connections_received"

    @celery-154
    Scenario: the broker's buffers have a limit, and room for a large result
      Each worker subscribes to control commands, each waiting sender to results. A subscriber that hangs fills the
      memory of the tasks, unless its buffer has a limit.
      Remedy:
      `CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60 replica 256mb 64mb 60"`.

      Given the broker under test
      Then the clients of class "pubsub" have bounded output buffers
      And there are no small buffers

  Rule: A replica resumes after a short interruption

    @celery-171
    Scenario: the broker keeps enough writes for a replica that reconnects
      A replica that missed more writes than the backlog holds copies all tasks again, and cannot take over meanwhile. A
      broker without replicas is not asked.
      Remedy: `CONFIG SET repl-backlog-size 64mb`.

      Given the broker under test
      Then there are no short backlogs
