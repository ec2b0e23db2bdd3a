@audit
Feature: Results pass through a separate result backend unchanged
  A worker stores a result with a ttl and publishes it in the same transaction. A sender subscribes, then reads. What
  is lost on the way makes the sender wait until its timeout, although the task is done.

  @core
  Rule: A stored result can be read back complete
    One client writes, and a second client reads.

    @results-020
    Scenario: the result backend loses no acknowledged result
      Remedy: connect without the proxy between; a server that evicts or is a replica is refused by name.

      Given the backend under test
      When the backend serves 2000 writes
      Then exactly 0 writes were lost

    @results-021
    Scenario: the result backend returns a result of 1 MiB unchanged
      Remedy: raise the limit of the proxy for one value, or connect without it.

      Given the backend under test
      When the backend serves 1048576 bytes in one value
      Then exactly 0 bytes were changed

    @results-022
    Scenario: the result backend replies to a transaction as a whole
      Celery stores and publishes in one MULTI. Some proxies refuse it, or reply to each command alone.
      Remedy: connect without the proxy, or use one that passes MULTI and EXEC.

      Given the backend under test
      When the backend serves 20 transactions
      Then exactly 0 transactions were split

    @results-023
    Scenario: the result backend loses no increment of a chord's counter
      Remedy: connect without the proxy between; a server that is a replica is refused by name.

      Given the backend under test
      When the backend serves 200 increments by two clients
      Then exactly 0 increments were lost

  @core
  Rule: Results reach the sender that waits for them

    @results-024
    Scenario: a message published on the result backend reaches its subscriber within 1 second
      Remedy: allow the user its channels (`ACL SETUSER <user> &*`), and use a proxy that passes PUBLISH and SUBSCRIBE.

      Given the backend under test
      When the backend serves 1 message
      Then the message took at most 1 second

    @results-025
    Scenario: the result backend carries a message of 1 MiB to its subscriber
      Remedy: `CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"`; raise the limit of a proxy for one message.

      Given the backend under test
      When the backend serves 1048576 bytes in one message
      Then exactly 0 bytes were changed

  Rule: Unread results expire

    @results-026
    Scenario: a key on the result backend lives as long as its ttl
      Remedy: synchronise the server's clock, and use a proxy that leaves EX and PX as they are.

      Given the backend under test
      When the backend serves 1 key with a ttl of 1 second
      Then the measurement "life of a key" is between 0.99 and 1.5 seconds

  Rule: Answers are in time all the time

    @results-027 @idle
    Scenario: the result backend neither stalls nor answers now and then late
      Reads are sampled while the other scenarios run. An answer is late if it comes 150 milliseconds later than most.
      Remedy: SLOWLOG GET and LATENCY LATEST name slow commands; else look at the processor, the swap space and the
      network of the server.

      Given the backend under test
      When the backend serves 3 seconds of reads
      Then the measurements are
        | MEASUREMENT  | BOUND            |
        | late answers | at most 2 %      |
        | longest wait | within 2 seconds |
