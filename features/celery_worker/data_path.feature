@audit
Feature: Tasks and results pass through the broker unchanged
  A task is a value in a list, and a result is a message on a channel. A proxy or balancer that drops one of a thousand
  between sender and server loses orders, and no log shows it.
  Remedy: repeat the run on the server's address, without the proxy or balancer. If it is accepted there, mend the
  proxy; else replace the server.

  @core
  Rule: Acknowledged data can be read back complete and in order
    One client writes, and a second client reads.

    @celery-025
    Scenario: the broker loses no acknowledged write
      Given the broker under test
      When the broker serves 2000 writes
      Then exactly 0 writes were lost

    @celery-026
    Scenario: the broker returns a payload of 1 MiB unchanged
      Given the broker under test
      When the broker serves 1048576 bytes in one value
      Then exactly 0 bytes were changed

    @celery-027
    Scenario: the broker hands out each pushed item once and in order
      Given the broker under test
      When the broker serves 500 list items
      Then exactly 0 items were lost or out of order

    @celery-028
    Scenario: the broker replies to a transaction as a whole
      Celery records a task, announces its result and acknowledges it in transactions. Some proxies refuse MULTI, or
      reply to each command alone.
      Remedy: connect without the proxy, or take one that supports MULTI; +multi and +exec in the ACL of the user.

      Given the broker under test
      When the broker serves 200 transactions
      Then exactly 0 transactions were split

  @core
  Rule: A worker can wait for a task

    @celery-029
    Scenario Outline: connections that are idle for <SECONDS> seconds are not cut off
      A worker holds connections that are silent for long: one that waits for a task, one for control commands, one for
      results. A balancer that closes or forgets them delays tasks and loses control commands. kombu sends a PING after 25
      seconds. `--quick` proves 4 seconds, a whole run 30.
      Remedy: raise the idle timeout of the balancer or proxy above 5 minutes (`timeout client` and `timeout server` of
      HAProxy, `proxy_timeout` of nginx), or connect without it.

      Given the broker under test
      When the broker serves 1 idle connection of each kind for <SECONDS> seconds
      Then exactly 0 connections were cut off

      @idle
      Examples: quick
        | SECONDS |
        | 4       |

      @waits
      Examples: longer than kombu's PING
        | SECONDS |
        | 30      |

  @core
  Rule: Results reach the sender that waits for them

    @celery-030
    Scenario: a message published on the broker reaches its subscriber within 1 second
      Remedy: `ACL SETUSER <user> &*`; let a proxy pass PUBLISH and SUBSCRIBE, or connect without it.

      Given the broker under test
      When the broker serves 1 message
      Then the message took at most 1 second

    @celery-128
    Scenario: the broker carries a message of 1 MiB to its subscriber
      Celery publishes each result, and the sender waits for that message. A server ends the connection of a subscriber
      whose buffer is too small, and the result is lost on the way.
      Remedy: `CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"`; raise the limit of a proxy for one message.

      Given the broker under test
      When the broker serves 1048576 bytes in one message
      Then exactly 0 bytes were changed

  Rule: Unread results expire

    @celery-031
    Scenario: a key on the broker lives as long as its ttl
      Given the broker under test
      When the broker serves 1 key with a ttl of 1 second
      Then the measurement "life of a key" is between 0.99 and 1.5 seconds
