@audit
Feature: Tasks and results pass through the broker unchanged
  A task is a value in a list, and a result is a message on a channel. A proxy or balancer that drops one of a thousand
  between sender and server loses orders, and no log shows it.

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
      Celery reserves tasks in transactions. Some proxies refuse MULTI, or reply to each command alone.

      Given the broker under test
      When the broker serves 1 transaction
      Then exactly 0 transactions were split

  @core
  Rule: A worker can wait for a task

    @celery-029
    Scenario Outline: an idle worker's wait of <SECONDS> seconds is not cut off
      A balancer that closes idle connections makes workers reconnect again and again. Celery asks again after
      1 second; other libraries wait for longer.

      Given the broker under test
      When the broker serves 1 empty wait of <SECONDS> seconds
      Then exactly 0 waits were cut off

      Examples: longer than Celery
        | SECONDS |
        | 1.5     |

      @waits
      Examples: as long as other libraries
        | SECONDS |
        | 3       |

  @core
  Rule: Results reach the sender that waits for them

    @celery-030
    Scenario: a message published on the broker reaches its subscriber within 1 second
      Given the broker under test
      When the broker serves 1 message
      Then the message took at most 1 second

  Rule: Unread results expire

    @celery-031
    Scenario: a key on the broker lives as long as its ttl
      Given the broker under test
      When the broker serves 1 key with a ttl of 1 second
      Then the measurement "life of a key" is between 0.99 and 1.5 seconds
