Feature: Least privilege: the broker grants what Celery needs, and nothing else
  A client that reaches the broker can read every order and send new ones. An ACL user for each application, with the
  rights that Celery uses, limits the damage of a stolen password. TLS keeps passwords and orders off the network.

  Rule: ACL: the user has the rights that Celery needs, and no others

    @celery-098
    Scenario: with the rights of src/broker_user.py, Celery performs all operations and uses every right
      Given an isolated broker
      And a user with the rights of the worker on "app1:"
      When a worker performs these operations
        | OPERATION                                    |
        | a task with a result                         |
        | a task that returns its message to the queue |
        | a task that is due later                     |
        | a result that is forgotten                   |
        | a chord                                      |
        | the cleanup after a dead process             |
        | an answer to a ping                          |
        | a task that is terminated                    |
        | a task of a worker that was killed           |
      Then exactly 0 commands were denied
      And there are no unused rights

    @celery-099 @slow
    Scenario: without any one of the rights, an operation fails
      Each right is taken away from a fresh user, and the operation must fail because of that right.

      Given the broker under test
      Then "without the right the operation fails" holds for 36 rights
        | OPERATION                                    | RIGHTS                                                                              |
        | sending a task                               | ping multi exec sadd lpush ~app1:*                                                  |
        | a task with a result                         | brpop zadd hset llen set get setex publish subscribe                                |
        | a task with a result                         | &app1:* &app1:/0.celery.pidbox                                                      |
        | a task that returns its message to the queue | hdel zrem watch hget rpush                                                          |
        | a result that is forgotten                   | del                                                                                 |
        | a chord                                      | unsubscribe zcount zrange expire                                                    |
        | an answer to a ping                          | smembers psubscribe srem evalsha script\|load time                                  |
        | the cleanup after a dead process             | script\|exists zrangebyscore exists                                                 |

    @celery-100
    Scenario: the worker's user is refused other keys, other channels, key lists, FLUSHALL, CONFIG and scripts
      Given an isolated broker
      And a user with the rights of the worker on "app1:"
      Then the user replies
        | COMMANDS               | REPLY  |
        | LPUSH app2:celery task | NOPERM |
        | PUBLISH app2:x y       | NOPERM |
        | KEYS app1:*            | NOPERM |
        | FLUSHALL               | NOPERM |
        | CONFIG GET *           | NOPERM |
        | EVAL return 0          | NOPERM |

  Rule: TLS: the connection is encrypted, and the server proves its identity

    @celery-101
    Scenario: tasks and results go through TLS
      Given an isolated broker
        | SETTING | VALUE |
        | tls     | yes   |
      And a worker
      When a worker performs these operations
        | OPERATION            |
        | a task with a result |
        | a chord              |
        | an answer to a ping  |
      Then the broker has exactly 0 clients without TLS

    @celery-102
    Scenario Outline: a sender without <MISSING> is refused with a reason
      Given an isolated broker
        | SETTING | VALUE |
        | tls     | yes   |
      When the task "add" is sent with [4, 8]
        | OPTION  | VALUE     |
        | url     | <URL>     |
        | timeout | 4 seconds |
      Then the send failed with "<REASON>"
      And the send took at most 5 seconds

      Examples:
        | MISSING     | URL                                      | REASON                            |
        | TLS options | rediss://BROKER/0                        | a certificate that is not trusted |
        | the CA file | rediss://BROKER/0?ssl_cert_reqs=required | a certificate that is not trusted |
        | TLS         | redis://BROKER/0                         | write rediss:// if it wants TLS   |
