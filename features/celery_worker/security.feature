Feature: The broker trusts nobody more than it must
  Whoever reaches the broker can read every order and give new ones. A user of its own for each application, with the
  rights that Celery uses and no others, and an encrypted connection keep it to those who should.

  Rule: The user has the rights that Celery needs, and no others

    @celery-098
    Scenario: with the rights of src/broker_user.py Celery does all that it does, and uses every one of them
      Given a broker of its own, and a user with the rights of src/broker_user.py on "app1:"
      When a worker with that user does all of this
        | WORK                                         |
        | a task with a result                         |
        | a task that returns its message to the queue |
        | a task that is due later                     |
        | a result that is forgotten                   |
        | a chord                                      |
        | what a process that is gone has left         |
        | an answer to a ping                          |
        | a task that is ended                         |
        | a task of a worker that was killed           |
      Then the broker refused none of its commands
      And every right was used

    @celery-099 @slow
    Scenario: without any one of the rights something fails
      Each is taken away from a user of its own.

      Then of the rights on "app1:" each is needed: without it, this fails
        | RIGHT                   | WORK                                         |
        | ping                    | sending a task                               |
        | multi                   | sending a task                               |
        | exec                    | sending a task                               |
        | sadd                    | sending a task                               |
        | lpush                   | sending a task                               |
        | smembers                | an answer to a ping                          |
        | brpop                   | a task with a result                         |
        | zadd                    | a task with a result                         |
        | hset                    | a task with a result                         |
        | hdel                    | a task that returns its message to the queue |
        | zrem                    | a task that returns its message to the queue |
        | set                     | a task with a result                         |
        | watch                   | a task that returns its message to the queue |
        | hget                    | a task that returns its message to the queue |
        | rpush                   | a task that returns its message to the queue |
        | get                     | a task with a result                         |
        | setex                   | a task with a result                         |
        | publish                 | a task with a result                         |
        | subscribe               | a task with a result                         |
        | unsubscribe             | a chord                                      |
        | del                     | a result that is forgotten                   |
        | zcount                  | a chord                                      |
        | zrange                  | a chord                                      |
        | expire                  | a chord                                      |
        | psubscribe              | an answer to a ping                          |
        | llen                    | a task with a result                         |
        | srem                    | an answer to a ping                          |
        | evalsha                 | an answer to a ping                          |
        | script\|load            | an answer to a ping                          |
        | script\|exists          | what a process that is gone has left         |
        | time                    | an answer to a ping                          |
        | zrangebyscore           | what a process that is gone has left         |
        | exists                  | what a process that is gone has left         |
        | ~app1:*                 | sending a task                               |
        | &app1:*                 | a task with a result                         |
        | &app1:/0.celery.pidbox  | a task with a result                         |

    @celery-100
    Scenario Outline: the user is refused <what>
      Given a broker of its own, and a user with the rights of src/broker_user.py on "app1:"
      Then the user is refused "<command>"

      Examples:
        | what                       | command                |
        | keys of others             | LPUSH app2:celery task |
        | channels of others         | PUBLISH app2:x y       |
        | the list of all keys       | KEYS app1:*            |
        | emptying the server        | FLUSHALL               |
        | the server's configuration | CONFIG GET *           |
        | scripts of its own         | EVAL return 0          |

  Rule: The connection is encrypted, and the server proves who it is

    @celery-101
    Scenario: tasks and results go through TLS
      Given a broker of its own behind TLS
      When the task "add" is sent with [4, 8]
      Then its result comes back within 10 seconds
      And every client of the broker came through TLS

    @celery-102
    Scenario Outline: who connects <without> is refused with a reason
      Given a server of its own behind TLS
      When a sender connects with <scheme> and "<options>"
      Then it is told "<reason>" within 5 seconds

      Examples:
        | without         | scheme | options                 | reason                            |
        | without options | rediss | none                    | a certificate that is not trusted |
        | without the CA  | rediss | ?ssl_cert_reqs=required | a certificate that is not trusted |
        | without TLS     | redis  | none                    | write rediss:// if it wants TLS   |
