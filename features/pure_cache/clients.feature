@audit
Feature: The cache serves its clients steadily
  A burst of a hundred reads takes 10 milliseconds, and sees none of the stalls that come twice a second. Settings of
  connections and buffers show only on the day when a client is slow, silent or one too many.

  Rule: Answers are in time all the time

    @cache-120 @idle
    Scenario: the cache neither stalls nor answers now and then late
      Reads are sampled while the other scenarios run. Of one late answer in twenty, 150 samples miss the defect in one
      of 20 verdicts; they see every stall of 200 milliseconds that comes twice a second.
      Remedy: SLOWLOG GET and LATENCY LATEST name slow commands; else look at the processor, the swap space and the
      network of the server.

      Given the cache under test
      When the cache serves 3 seconds of reads
      Then the measurements are
        | MEASUREMENT  | BOUND            |
        | late answers | at most 2 %      |
        | longest wait | within 2 seconds |

    @cache-121
    Scenario: no command of the last 10 minutes has stalled the cache again and again
      The server runs one command at a time, so all clients wait for a slow one.
      Remedy: SCAN in place of KEYS, smaller values, shorter scripts; then `SLOWLOG RESET`.

      Given the cache under test
      Then there are no stalling commands

  Rule: A client keeps its connection, and a dead one is noticed

    @cache-122
    Scenario: the cache probes idle connections with TCP keepalive
      Without it, connections of dead clients stay until `maxclients` is reached.
      Remedy: `CONFIG SET tcp-keepalive 60`.

      Given the cache under test
      Then the setting "tcp-keepalive" is between 1 and 300

    @cache-123
    Scenario: the cache keeps idle connections for half a minute
      Pools keep connections between requests. A shorter timeout makes nearly every request connect again.
      Remedy: `CONFIG SET timeout 0`, or 300.

      Given the cache under test
      Then there are no short timeouts

    @cache-124
    Scenario: the cache has refused hardly any connection
      Remedy: `CONFIG SET maxclients 10000`, and smaller pools in the clients; then `CONFIG RESETSTAT`.

      Given the cache under test
      Then the field "rejected_connections" is at most 1 % of the field "total_connections_received"

  Rule: A buffer has room for a large value

    @cache-125
    Scenario: the cache does not close the connection of a client that reads a large value
      A server ends the connection of a client whose answer exceeds the limit of its class.
      Remedy:
      `CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60 replica 256mb 64mb 60"`.

      Given the cache under test
      Then there are no small buffers

  Rule: A replica resumes after a short interruption

    @cache-150
    Scenario: the cache keeps enough writes for a replica that reconnects
      A replica that missed more writes than the backlog holds copies all data again. Under steady writes it misses more
      during that copy, without end (redis#11534). A cache without replicas is not asked.
      Remedy: `CONFIG SET repl-backlog-size 64mb`.

      Given the cache under test
      Then there are no short backlogs
