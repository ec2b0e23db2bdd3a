@audit
Feature: What goes to the broker comes out of it
  A task is a value in a list, and a result is a message on a channel. What drops one in a thousand of them
  between sender and server loses orders, and nothing logs it.

  @core
  Rule: What was acknowledged is there, whole

    @celery-025
    Scenario: no acknowledged write is lost
      Given a writer and a reader of the broker
      Then of 2000 acknowledged writes exactly 0 are lost

    @celery-026
    Scenario: a large payload comes back as it was
      Given a writer and a reader of the broker
      Then a value of 1048576 bytes comes back as it was

    @celery-027
    Scenario: what is pushed on one side comes out on the other, once and in order
      Given a writer and a reader of the broker
      Then of 500 items in a list exactly 0 are lost, doubled or out of order

    @celery-028
    Scenario: a transaction is answered as one
      Celery notes what it took in transactions. Some proxies refuse them, or answer each command alone.

      Given a writer and a reader of the broker
      Then a transaction is answered as one

  @core
  Rule: A worker can wait

    @celery-029
    Scenario Outline: a wait for a task is not cut off
      A balancer that cuts connections when nothing is said makes workers start again and again. Celery asks again
      after 1 second; other libraries wait for longer.

      Given a writer and a reader of the broker
      Then waiting for an item lasts <seconds> seconds if none comes

      Examples: longer than Celery
        | seconds |
        | 1.5     |

      @waits
      Examples: as long as others
        | seconds |
        | 3       |

  @core
  Rule: Results reach those who wait for them

    @celery-030
    Scenario: a published message reaches its subscriber
      Given a writer and a reader of the broker
      Then a published message reaches its subscriber within 1 second

  Rule: Results that nobody reads go away

    @celery-031
    Scenario: a key lives as long as its ttl
      Given a writer and a reader of the broker
      Then a key with a ttl of 1 second is gone between 0.99 and 1.5 seconds
