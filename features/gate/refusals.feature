@slow
Feature: A deployment with a defect is refused
  A gate is worth what it refuses. Each of these deployments answers, serves and looks well in a dashboard, and
  is well but for one thing. The gate must see it as somebody else's deployment, from outside, and name it.

  Rule: A deployment without a defect is accepted

    Scenario Outline: a healthy deployment is accepted
      Given a healthy <ROLE>
      When the gate judges it
      Then its judgement is "accepted"

      Examples:
        | ROLE    |
        | cache   |
        | broker  |
        | cluster |

  Rule: A defect is refused by the scenario that should see it, and named

    Scenario Outline: a cache that is not set up as one
      Given a cache with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                              | SCENARIO                                 | CAUSE                                        |
        | no memory limit                     | a memory limit is set                    | maxmemory                                    |
        | nothing is evicted                  | any entry may be evicted                 | noeviction                                   |
        | only keys with a ttl are evicted    | any entry may be evicted                 | volatile-lru                                 |
        | snapshots                           | no snapshots and no log                  | save                                         |
        | an append-only file                 | no snapshots and no log                  | appendonly                                   |
        | few connections                     | connections are not refused              | seen 50                                      |
        | unbounded buffers for subscribers   | a slow subscriber cannot take the memory | without bound                                |
        | reads only                          | no acknowledged write is lost            | read only replica                            |
        | writes are refused without replicas | no acknowledged write is lost            | NOREPLICAS                                   |
        | a user who may not write            | no acknowledged write is lost            | no permissions                               |
        | a user who may not read             | no acknowledged write is lost            | no permissions                               |

    Scenario Outline: a cache behind something that changes what passes
      Given a cache with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                          | SCENARIO                                        | CAUSE                    |
        | a ttl is dropped                | the server reports the ttl that was set         | ttl that is reported     |
        | a ttl is halved                 | the server reports the ttl that was set         | ttl that is reported     |
        | a ttl is doubled                | a key lives as long as its ttl                  | life of a key            |
        | a ttl is never reported         | the server reports the ttl that was set         | ttl that is reported     |
        | one write in 200 is lost        | no acknowledged write is lost                   | acknowledged writes lost |
        | values are cut at 64 KiB        | a value of any size comes back as it was[65537] | 65536 bytes came back    |
        | answers are slow                | a round trip is short                           | round trip               |
        | reads are stale                 | a read sees the write before it                 | stale reads              |
        | messages reach nobody           | a published message reaches its subscriber      | reached nobody           |
        | now and then another key's value | no acknowledged write is lost                  | acknowledged writes lost |

    Scenario Outline: a broker that is not set up as one
      Given a broker with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                          | SCENARIO                                                         | CAUSE                    |
        | tasks are evicted               | the policy evicts nothing that is a task                         | allkeys-lru              |
        | nothing on disk                 | every write is logged, and the log is written at least once a second | appendonly           |
        | the log is never forced to disk | every write is logged, and the log is written at least once a second | appendfsync          |
        | idle workers are cut off        | idle workers are not cut off                                     | timeout                  |
        | dead connections are not noticed | the server asks idle connections whether they live              | tcp-keepalive            |
        | few connections                 | connections are not refused                                      | maxclients               |
        | nearly full                     | the memory is not nearly full                                    | used_memory of maxmemory |
        | one write in 200 is lost        | no acknowledged write is lost                                    | acknowledged writes lost |
        | messages reach nobody           | a published message reaches its subscriber                       | reached nobody           |

    Scenario Outline: a cluster that will not survive, or does not cover its keys
      Given a cluster with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                                       | SCENARIO                                                        | CAUSE                |
        | failures are noticed late                    | a failure is noticed within the budget                          | seen 60000           |
        | replicas never take over                     | replicas may take over                                          | no-failover          |
        | replicas of any age take over                | replicas may take over                                          | validity-factor      |
        | a short replication backlog                  | the backlog holds what happens in a short interruption          | repl-backlog-size    |
        | few connections                              | connections are not refused                                     | seen 32              |
        | unbounded buffers for replicas               | the backlog holds what happens in a short interruption          | without bound        |
        | no replicas                                  | every primary has a replica that is linked and alive            | seen 0               |
        | a dead replica                               | every primary has a replica that is linked and alive            | fail                 |
        | a replica that never finished its first copy | every primary has a replica that is linked and alive            | not linked           |
        | a slot left on its way                       | no slot is on its way                                           | open slots           |
        | a slot without owner                         | every node says that the cluster is well                        | 16383                |
        | one node has nearly all slots                | no primary has much more than its share                         | even share           |
        | an address that leads nowhere                | each announced address is that of the node it is announced for  | 127.0.0.1:1          |
