@slow
Feature: A deployment with a defect is refused
  A gate is worth what it refuses. Each of these deployments answers, serves and looks well in a dashboard, and
  is well but for one thing. The gate must see it as somebody else's deployment, from outside, and name it.

  Rule: A deployment without a defect is accepted

    @gate-021
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

    @gate-022
    Scenario Outline: a cache that is not set up as one
      Given a cache with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                              | SCENARIO                                                      | CAUSE                            |
        | no memory limit                     | a memory limit is set                                         | maxmemory                        |
        | nothing is evicted                  | any entry may be evicted                                      | noeviction                       |
        | only keys with a ttl are evicted    | any entry may be evicted                                      | volatile-lru                     |
        | snapshots                           | no snapshots and no log                                       | save                             |
        | an append-only file                 | no snapshots and no log                                       | appendonly                       |
        | few connections                     | connections are not refused                                   | seen 50                          |
        | unbounded buffers for subscribers   | a slow subscriber cannot take the memory                      | without bound                    |
        | reads only                          | no acknowledged write is lost                                 | read only replica                |
        | writes are refused without replicas | no acknowledged write is lost                                 | NOREPLICAS                       |
        | a user who may not write            | no acknowledged write is lost                                 | no permissions                   |
        | a user who may not read             | no acknowledged write is lost                                 | no permissions                   |
        | a limit above the machine's memory  | the machine has as much memory as the limit allows            | maxmemory of total_system_memory |
        | an application that may do anything | dangerous commands are refused to the user of the application | FLUSHALL                         |

    @gate-023
    Scenario Outline: a cache behind something that changes what passes
      Given a cache with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                            | SCENARIO                                        | CAUSE                    |
        | a ttl is dropped                  | the server reports the ttl that was set         | ttl that is reported     |
        | a ttl is halved                   | the server reports the ttl that was set         | ttl that is reported     |
        | a ttl is doubled                  | a key lives as long as its ttl                  | life of a key            |
        | a ttl is never reported           | the server reports the ttl that was set         | ttl that is reported     |
        | one write in 200 is lost          | no acknowledged write is lost                   | acknowledged writes lost |
        | values are cut at 64 KiB          | a value of any size comes back as it was[65537] | 65536 bytes came back    |
        | answers are slow                  | a round trip is short                           | round trip               |
        | reads are stale                   | a read sees the write before it                 | stale reads              |
        | messages reach nobody             | a published message reaches its subscriber      | reached nobody           |
        | now and then another key's value  | no acknowledged write is lost                   | acknowledged writes lost |
        | values lose a bit of each byte    | a value of any bytes comes back as it was       | 256 different bytes      |
        | deletes are acknowledged and lost | a deleted key is gone                           | outlived their deletion  |
        | one increment in 50 is lost       | no increment is lost                            | increments lost          |
        | a condition is dropped            | a lock has one holder                           | holders of one lock      |
        | a version past its end of life    | the version still gets security fixes           | 6.2.0                    |
        | a clock that is wrong             | server and clients agree on the time            | difference of the clocks |
        | one answer in five is late        | few answers are much later than the others      | slowest of 90 %          |
        | twenty connections and no more    | connections are not turned away on the way      | of 50 connections        |

    @gate-024
    Scenario Outline: a broker that is not set up as one
      Given a broker with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                              | SCENARIO                                                             | CAUSE                            |
        | tasks are evicted                   | the policy evicts nothing that is a task                             | allkeys-lru                      |
        | nothing on disk                     | every write is logged, and the log is written at least once a second | appendonly                       |
        | the log is never forced to disk     | every write is logged, and the log is written at least once a second | appendfsync                      |
        | idle workers are cut off            | idle workers are not cut off                                         | timeout                          |
        | dead connections are not noticed    | the server asks idle connections whether they live                   | tcp-keepalive                    |
        | few connections                     | connections are not refused                                          | maxclients                       |
        | nearly full                         | the memory is not nearly full                                        | used_memory of maxmemory         |
        | one write in 200 is lost            | no acknowledged write is lost                                        | acknowledged writes lost         |
        | messages reach nobody               | a published message reaches its subscriber                           | reached nobody                   |
        | no memory limit                     | a memory limit is set, and the machine has that much                 | maxmemory                        |
        | a limit above the machine's memory  | a memory limit is set, and the machine has that much                 | maxmemory of total_system_memory |
        | the log waits while it is rewritten | the log is forced to disk also while it is rewritten                 | no-appendfsync-on-rewrite        |
        | one item in 100 is handed out twice | what is pushed on one side comes out on the other, once and in order | items wrong                      |
        | transactions are refused            | a transaction is answered as one                                     | EXEC without MULTI               |
        | silent connections are cut off      | a wait for a task is not cut off[1.5]                                | cut off after                    |
        | values are cut at 64 KiB            | a large payload comes back as it was                                 | 65536 bytes came back            |
        | reads only                          | no acknowledged write is lost                                        | read only replica                |

    @gate-025
    Scenario Outline: a cluster that will not survive, or does not cover its keys
      Given a cluster with the defect "<DEFECT>"
      When the gate judges it
      Then its judgement is "refused"
      And "<SCENARIO>" fails and says "<CAUSE>"

      Examples:
        | DEFECT                                       | SCENARIO                                                       | CAUSE                    |
        | failures are noticed late                    | a failure is noticed within the budget                         | seen 60000               |
        | replicas never take over                     | replicas may take over                                         | no-failover              |
        | replicas of any age take over                | replicas may take over                                         | validity-factor          |
        | a short replication backlog                  | the backlog holds what happens in a short interruption         | repl-backlog-size        |
        | few connections                              | connections are not refused                                    | seen 32                  |
        | unbounded buffers for replicas               | the backlog holds what happens in a short interruption         | without bound            |
        | no replicas                                  | every primary has a replica that is linked and alive           | seen 0                   |
        | a dead replica                               | every primary has a replica that is linked and alive           | fail                     |
        | a replica that never finished its first copy | every primary has a replica that is linked and alive           | not linked               |
        | a slot left on its way                       | no slot is on its way                                          | open slots               |
        | a slot without owner                         | every node says that the cluster is well                       | 16383                    |
        | one node has nearly all slots                | no primary has much more than its share                        | even share               |
        | a name that nobody resolves                  | each announced address is that of the node it is announced for | no-host.invalid          |
        | two primaries                                | one failure leaves a majority to vote                          | seen 2                   |
        | no memory limit                              | a memory limit is set, and the machine has that much           | maxmemory                |
        | old values from a minority                   | a minority serves no old values                                | reads-when-down          |
        | one node with another memory limit           | nodes differ only in what says which node it is                | maxmemory                |
        | one node that knows other users              | nodes differ only in what says which node it is                | user guest               |
        | one node of another version                  | one version                                                    | 6.2.0                    |
        | redirections lead nowhere                    | a wrong node redirects and the client follows                  | MOVED                    |
        | one write in 200 is lost                     | no acknowledged write is lost                                  | acknowledged writes lost |
        | reads are stale                              | a read sees the write before it                                | stale reads              |
        | deletes are acknowledged and lost            | a deleted key is gone                                          | outlived their deletion  |
        | one increment in 50 is lost                  | no increment is lost                                           | increments lost          |
        | a condition is dropped                       | a lock has one holder                                          | holders of one lock      |
        | values are cut at 64 KiB                     | a large value comes back as it was                             | 65536 bytes came back    |
        | an address that leads nowhere                | each announced address is that of the node it is announced for | 127.0.0.1:1              |
