Feature: The gate never refuses a healthy deployment
  A gate with false alarms is switched off. `docs/healthy.md` says of each kind what makes it and why it is healthy.
  The verdict is `partial`, with the reason, where the server or a proxy lacks a command that a core scenario needs.

  Rule: The verdict on a healthy deployment is "accepted", or "partial" with the missing command

    @gate-013 @slow
    Scenario Outline: the gate does not refuse a healthy cache: <KIND>
      Given a healthy cache of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples: keys of other applications
        | KIND                | VERDICT  | LACK    |
        | names of frameworks | accepted | nothing |

      Examples: more
        | KIND                                | VERDICT  | LACK       |
        | plain                               | accepted | nothing    |
        | behind TLS                          | accepted | nothing    |
        | TLS and a user, on the network      | accepted | nothing    |
        | behind a plain proxy                | accepted | nothing    |
        | a proxy without HELLO, protocol=2   | partial  | RESP3      |
        | a proxy without CONFIG, INFO, HELLO | partial  | CONFIG     |
        | answers 2 ms away                   | accepted | nothing    |
        | a clock a second apart              | accepted | nothing    |
        | a user of another prefix            | partial  | practices: |
        | a user of least privilege           | partial  | TTL        |
        | a password with special characters  | accepted | nothing    |
        | a login that changes                | accepted | nothing    |
        | without CONFIG                      | partial  | CONFIG     |
        | without what Memorystore blocks     | partial  | CONFIG     |
        | without INFO                        | partial  | INFO       |
        | without EVAL                        | partial  | EVAL       |
        | disabled commands                   | partial  | CONFIG     |
        | CONFIG with a secret name           | partial  | CONFIG     |
        | idle connections for an hour        | accepted | nothing    |
        | one database                        | accepted | nothing    |
        | full of binary keys                 | accepted | nothing    |
        | many databases                      | accepted | nothing    |
        | large foreign values                | accepted | nothing    |
        | hammered by other clients           | accepted | nothing    |
        | evicting all the time               | accepted | nothing    |
        | another tick                        | accepted | nothing    |
        | lazy freeing                        | accepted | nothing    |
        | IO threads                          | accepted | nothing    |
        | another policy that evicts any key  | accepted | nothing    |
        | a limit set by a container          | accepted | nothing    |
        | IPv6                                | accepted | nothing    |
        | RESP2                               | partial  | RESP3      |
        | redis-py's options                  | accepted | nothing    |
        | throttled                           | accepted | nothing    |
        | both cores busy                     | accepted | nothing    |
        | a slow command now and then         | accepted | nothing    |
        | limits for its own clients          | accepted | nothing    |
        | copied by a replica                 | accepted | nothing    |

    @gate-014 @slow
    Scenario Outline: the gate does not refuse a healthy broker: <KIND>
      Given a healthy broker of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples: options of the URL
        | KIND               | VERDICT  | LACK    |
        | redis-py's options | accepted | nothing |

      Examples: more
        | KIND                                | VERDICT  | LACK       |
        | plain                               | accepted | nothing    |
        | behind TLS                          | accepted | nothing    |
        | TLS and a user, on the network      | accepted | nothing    |
        | behind a plain proxy                | accepted | nothing    |
        | a proxy without HELLO, protocol=2   | accepted | nothing    |
        | a proxy without CONFIG, INFO, HELLO | partial  | CONFIG     |
        | answers 2 ms away                   | accepted | nothing    |
        | a clock a second apart              | accepted | nothing    |
        | a user of another prefix            | partial  | practices: |
        | a user of least privilege           | accepted | nothing    |
        | a password with special characters  | accepted | nothing    |
        | a login that changes                | partial  | login      |
        | without CONFIG                      | partial  | CONFIG     |
        | without what Memorystore blocks     | partial  | CONFIG     |
        | without INFO                        | partial  | INFO       |
        | disabled commands                   | partial  | CONFIG     |
        | CONFIG with a secret name           | partial  | CONFIG     |
        | queues with priorities              | accepted | nothing    |
        | full of binary keys                 | accepted | nothing    |
        | hammered by other clients           | accepted | nothing    |
        | a second application's workers      | accepted | nothing    |
        | foreign tasks and results           | accepted | nothing    |
        | a log that is rewritten             | accepted | nothing    |
        | another tick                        | accepted | nothing    |
        | lazy freeing                        | accepted | nothing    |
        | IO threads                          | accepted | nothing    |
        | a limit set by a container          | accepted | nothing    |
        | every write forced to disk          | accepted | nothing    |
        | snapshots beside the log            | accepted | nothing    |
        | IPv6                                | accepted | nothing    |
        | RESP2                               | accepted | nothing    |
        | throttled                           | accepted | nothing    |
        | both cores busy                     | accepted | nothing    |
        | answers 200 ms away                 | accepted | nothing    |
        | a slow command now and then         | accepted | nothing    |
        | copied by a replica                 | accepted | nothing    |
        | a write that waited for its disk    | accepted | nothing    |

    @gate-122 @slow
    Scenario Outline: the gate does not refuse a healthy broker whose sentinels are odd: <KIND>
      Given a healthy broker of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples:
        | KIND                                             | VERDICT  | LACK    |
        | 3 sentinels                                      | accepted | nothing |
        | 5 sentinels and 2 replicas                       | accepted | nothing |
        | sentinels and servers with a password            | accepted | nothing |
        | sentinels behind TLS                             | accepted | nothing |
        | a sentinel that was restarted                    | accepted | nothing |
        | a failover 2 seconds ago                         | accepted | nothing |
        | a replica that is never promoted, beside another | accepted | nothing |
        | sentinels of several primaries                   | accepted | nothing |
        | one of three sentinels named                     | accepted | nothing |
        | a dead replica beside another                    | accepted | nothing |

    @gate-015 @slow
    Scenario Outline: the gate does not refuse a healthy cluster: <KIND>
      Given a healthy cluster of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples: keys of other applications
        | KIND                | VERDICT  | LACK    |
        | full of binary keys | accepted | nothing |

      Examples: more
        | KIND                               | VERDICT  | LACK    |
        | plain                              | accepted | nothing |
        | behind TLS                         | accepted | nothing |
        | behind a plain proxy               | accepted | nothing |
        | answers 2 ms away                  | accepted | nothing |
        | one node 2 ms away                 | accepted | nothing |
        | a user of least privilege          | accepted | nothing |
        | a password with special characters | accepted | nothing |
        | without CONFIG                     | partial  | CONFIG  |
        | without INFO                       | partial  | INFO    |
        | without CLUSTER NODES              | partial  | NODES   |
        | disabled commands                  | partial  | CONFIG  |
        | hammered by other clients          | accepted | nothing |
        | another tick                       | accepted | nothing |
        | lazy freeing                       | accepted | nothing |
        | IO threads                         | accepted | nothing |
        | idle replicas                      | accepted | nothing |
        | two replicas each                  | accepted | nothing |
        | uneven but legal slots             | accepted | nothing |
        | names in place of addresses        | accepted | nothing |
        | three hosts by name                | accepted | nothing |
        | a replica that copies its primary  | accepted | nothing |
        | a resharding under way             | accepted | nothing |
        | a planned failover just now        | accepted | nothing |
        | a replica restarted just now       | accepted | nothing |
        | all keys on one primary            | accepted | nothing |
        | a failover and back just now       | accepted | nothing |
        | a replica that joined just now     | accepted | nothing |
        | a copy that outlasts the verdict   | partial  | copies  |
        | a burst of writes                  | accepted | nothing |
        | a fork with room                   | accepted | nothing |
        | a host name that changed just now  | accepted | nothing |
        | a cache without files              | accepted | nothing |
        | the longest node timeout           | accepted | nothing |
        | RESP2                              | accepted | nothing |
        | redis-py's options                 | accepted | nothing |
        | throttled                          | accepted | nothing |
        | both cores busy                    | accepted | nothing |

    @gate-091 @slow
    Scenario Outline: the gate does not refuse a healthy result backend: <KIND>
      Given a healthy backend of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples:
        | KIND                      | VERDICT  | LACK    |
        | plain                     | accepted | nothing |
        | behind TLS                | accepted | nothing |
        | a user of least privilege | accepted | nothing |
        | without CONFIG            | partial  | CONFIG  |
        | both cores busy           | accepted | nothing |

    @gate-111 @slow
    Scenario Outline: the gate does not refuse healthy workers: <KIND>
      Given a healthy worker of the kind "<KIND>"
      When the gate judges the deployment
      Then the verdict is "<VERDICT>"
      And the core scenarios lack "<LACK>"

      Examples:
        | KIND                                           | VERDICT  | LACK           |
        | prefork                                        | accepted | nothing        |
        | solo and busy                                  | partial  | did not answer |
        | threads                                        | accepted | nothing        |
        | gevent                                         | accepted | nothing        |
        | autoscale                                      | accepted | nothing        |
        | a fair pool beside a default one               | accepted | nothing        |
        | a process for each task                        | accepted | nothing        |
        | busy with short tasks                          | accepted | nothing        |
        | ten priorities                                 | accepted | nothing        |
        | a key prefix                                   | accepted | nothing        |
        | three apps in three databases                  | accepted | nothing        |
        | two prefixes with two visibility timeouts      | accepted | nothing        |
        | a hundred workers                              | accepted | nothing        |
        | remote control is off                          | partial  | remote control |
        | another control exchange                       | accepted | nothing        |
        | an application's user                          | accepted | nothing        |
        | no gossip, no mingle, no heartbeat             | accepted | nothing        |
        | a short visibility timeout with shorter limits | accepted | nothing        |
        | countdowns of hours with a longer timeout      | accepted | nothing        |
        | no result backend                              | accepted | nothing        |
        | no task keeps a result                         | accepted | nothing        |
        | results in files                               | accepted | nothing        |
        | early acknowledgement                          | accepted | nothing        |
        | rejection without late acknowledgement         | accepted | nothing        |
        | another program reads a queue                  | accepted | nothing        |
        | another app reads a queue                      | accepted | nothing        |
        | two releases for a minute                      | accepted | nothing        |
        | just starting                                  | accepted | nothing        |
        | ending warm                                    | partial  | no worker runs |
        | two beats and a lock                           | accepted | nothing        |
        | settings that are not shown                    | accepted | nothing        |
        | a large prefetch of tiny tasks                 | accepted | nothing        |
        | busy without a prefetch                        | accepted | nothing        |
        | countdowns that fill the prefetch              | accepted | nothing        |
        | tasks of Celery itself                         | accepted | nothing        |
        | messages of protocol 1                         | accepted | nothing        |
        | a route that Celery masks                      | accepted | nothing        |
        | a set of content types                         | accepted | nothing        |
        | a name with brackets                           | accepted | nothing        |
        | a task that the next release lacks             | accepted | nothing        |
        | another program's messages                     | accepted | nothing        |
        | another program polls a queue                  | accepted | nothing        |
        | two apps with one node name and a beat each    | accepted | nothing        |
