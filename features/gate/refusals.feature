@slow
Feature: The gate refuses a deployment with a defect, and names the cause
  A gate is worth what it refuses. Each of these deployments replies, serves and looks healthy in a dashboard, but has
  one defect that costs data or availability later. The gate sees it from outside, by its URL, as any other deployment.

  Rule: The scenario about a defect fails, and its reason names the cause

    @gate-022
    Scenario Outline: the gate refuses a cache with the wrong setting: <DEFECT>
      Given a cache with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                           | SCENARIO  | CAUSE                            |
        | no memory limit                                  | cache-005 | maxmemory                        |
        | nothing is evicted                               | cache-007 | noeviction                       |
        | only keys with a ttl are evicted                 | cache-007 | volatile-lru                     |
        | snapshots                                        | cache-008 | save                             |
        | an append-only file                              | cache-008 | appendonly                       |
        | few connections                                  | cache-009 | seen 50                          |
        | unbounded buffers for subscribers                | cache-010 | without bound                    |
        | reads only                                       | cache-022 | read only replica                |
        | writes are refused without replicas              | cache-022 | NOREPLICAS                       |
        | a user without the right to SET                  | cache-022 | no permissions                   |
        | a user without the right to GET                  | cache-022 | no permissions                   |
        | a limit above the machine's memory               | cache-006 | maxmemory of total_system_memory |
        | an application with all rights                   | cache-012 | FLUSHALL                         |
        | a writable replica                               | cache-126 | slave                            |
        | dead connections are not noticed                 | cache-122 | tcp-keepalive                    |
        | idle connections are cut off                     | cache-123 | 5 s                              |
        | connections were refused                         | cache-124 | rejected_connections             |
        | small buffers for clients                        | cache-125 | normal                           |
        | commands stall it                                | cache-121 | EVAL                             |
        | no password, on the network                      | cache-130 | without a password               |
        | an application as administrator, on the network  | cache-131 | default user                     |
        | plain text, on the network                       | cache-132 | without TLS                      |
        | TLS 1.1, on the network                          | cache-133 | TLSv1.1                          |
        | no forward secrecy, on the network               | cache-133 | no forward secrecy               |
        | a certificate that ends tomorrow, on the network | cache-134 | ends in 1 days                   |
        | no password, on another address, too             | cache-130 | protected-mode is no             |
        | some connections reach a replica                 | cache-126 | connections reach a replica      |
        | a short backlog for its replica                  | cache-150 | 20480 bytes                      |
        | a sentinel that names another primary            | cache-180 | most others                      |
        | a quorum of all sentinels                        | cache-181 | a quorum of 3                    |
        | a replica that is never promoted                 | cache-182 | the priority 0                   |
        | sentinels that notice too early                  | cache-183 | down-after-milliseconds          |
        | sentinels without a password, on the network     | cache-184 | without a password               |

    @gate-023
    Scenario Outline: the gate refuses a cache whose traffic is changed on the way: <DEFECT>
      Given a cache with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                            | SCENARIO         | CAUSE                        |
        | a ttl is dropped                                  | cache-029        | reported ttl                 |
        | a ttl is halved                                   | cache-029        | reported ttl                 |
        | a ttl is doubled                                  | cache-030        | life of a key                |
        | a ttl is never reported                           | cache-029        | reported ttl                 |
        | one write in 200 is lost                          | cache-022        | writes lost                  |
        | values are cut at 64 KiB                          | cache-023[65537] | bytes changed                |
        | answers are slow                                  | cache-032        | median round trip            |
        | reads are stale                                   | cache-026        | reads stale                  |
        | messages reach no subscriber                      | cache-035        | no message reached           |
        | now and then another key's value                  | cache-022        | writes lost                  |
        | values lose a bit of each byte                    | cache-024        | bytes changed                |
        | deletes are acknowledged and lost                 | cache-025        | deleted keys found           |
        | one increment in 50 is lost                       | cache-028        | increments lost              |
        | a condition is dropped                            | cache-027        | locks granted                |
        | a version past its end of life                    | cache-011        | 6.2.0                        |
        | a clock that is wrong                             | cache-031        | difference of the clocks     |
        | one answer in five is late                        | cache-033        | 90th percentile              |
        | twenty connections and no more                    | cache-034        | connections refused          |
        | stalls twice a second                             | cache-120        | late answers                 |
        | one answer in twenty is late                      | cache-120        | late answers                 |
        | stops for 3 of 6 seconds                          | cache-120        | longest wait                 |
        | increments lose their fraction                    | cache-110        | replies wrong of INCRBYFLOAT |
        | the conditions of a ttl are dropped               | cache-111        | replies wrong of EXPIRE      |
        | one deletion in 100 deletes nothing               | cache-112        | replies wrong of GET         |
        | several values come in another order              | cache-113        | replies wrong of MGET        |
        | a scan misses keys                                | cache-114        | keys missed                  |
        | scripts are forgotten at once                     | cache-115        | No matching script           |
        | a version with known holes                        | cache-011        | 8.0.1                        |
        | SCAN, WAIT and flags of EXPIRE end the connection | cache-111        | ends at EXPIRE               |

    @gate-024
    Scenario Outline: the gate refuses a broker with a defect: <DEFECT>
      Given a broker with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                            | SCENARIO      | CAUSE                            |
        | tasks are evicted                                 | celery-001    | allkeys-lru                      |
        | nothing on disk                                   | celery-003    | appendonly                       |
        | the log is never forced to disk                   | celery-003    | appendfsync                      |
        | idle workers are cut off                          | celery-010    | timeout                          |
        | dead connections are not noticed                  | celery-009    | tcp-keepalive                    |
        | few connections                                   | celery-008    | maxclients                       |
        | nearly full                                       | celery-007    | used_memory of maxmemory         |
        | one write in 200 is lost                          | celery-025    | writes lost                      |
        | messages reach no subscriber                      | celery-030    | no message reached               |
        | no memory limit                                   | celery-006    | maxmemory                        |
        | a limit above the machine's memory                | celery-006    | maxmemory of total_system_memory |
        | the log waits while it is rewritten               | celery-005    | no-appendfsync-on-rewrite        |
        | one item in 100 is handed out twice               | celery-027    | items lost or out of order       |
        | transactions are refused                          | celery-028    | EXEC without MULTI               |
        | silent connections are cut off                    | celery-029[4] | connections cut off              |
        | locks and results are evicted                     | celery-127    | volatile-lru                     |
        | small buffers for subscribers                     | celery-128    | reached no subscriber            |
        | a log that cannot be rewritten                    | celery-004    | aof_last_bgrewrite_status        |
        | values are cut at 64 KiB                          | celery-026    | bytes changed                    |
        | reads only                                        | celery-025    | read only replica                |
        | a writable replica                                | celery-155    | slave                            |
        | stalls twice a second                             | celery-150    | late answers                     |
        | commands stall it                                 | celery-151    | EVAL                             |
        | its disk is slower than its log                   | celery-152    | writes delayed                   |
        | connections were refused                          | celery-153    | rejected_connections             |
        | unbounded buffers for subscribers                 | celery-154    | without bound                    |
        | small buffers for clients                         | celery-154    | normal                           |
        | one taken item in 100 is lost                     | celery-027    | items lost or out of order       |
        | a wait for several lists sees the first one alone | celery-140    | items lost or out of order       |
        | one record of a task in 100 is lost               | celery-141    | replies wrong of HGET            |
        | tasks are looked for at the wrong end             | celery-141    | replies wrong of ZRANGE          |
        | the ttl of results is dropped                     | celery-142    | replies wrong of TTL             |
        | one part of a chord in 100 is not counted         | celery-143    | replies wrong of                 |
        | a condition is dropped                            | celery-144    | replies wrong of SET             |
        | one deletion in 100 deletes nothing               | celery-142    | replies wrong of EXISTS          |
        | scripts are forgotten at once                     | celery-145    | No matching script               |
        | a watched change is not noticed                   | celery-146    | transactions split               |
        | one message in 100 is lost                        | celery-147    | messages lost                    |
        | no password, on the network                       | celery-160    | without a password               |
        | an application as administrator, on the network   | celery-161    | default user                     |
        | plain text, on the network                        | celery-162    | without TLS                      |
        | TLS 1.1, on the network                           | celery-163    | TLSv1.1                          |
        | no forward secrecy, on the network                | celery-163    | no forward secrecy               |
        | a certificate that ends tomorrow, on the network  | celery-164    | ends in 1 days                   |
        | an application with all rights                    | celery-165    | FLUSHALL                         |
        | some connections reach a replica                  | celery-155    | connections reach a replica      |
        | a short backlog for its replica                   | celery-171    | 20480 bytes                      |
        | a buffer for one result                           | celery-154    | 1048576 bytes                    |
        | a user without channels                           | celery-030    | access a channel                 |
        | snapshots fail                                    | celery-004    | rdb_last_bgsave_status           |
        | a lock that never ends                            | celery-170    | unacked_mutex                    |
        | waits for a task are refused                      | celery-027    | BRPOP                            |
        | commands above 1 MiB end the connection           | celery-026    | ends at a command                |
        | a certificate that is not checked, on the network | celery-163    | ssl_cert_reqs=none               |
        | a hole that a setting opens                       | celery-011    | maxmemory-clients                |
        | a version with known holes                        | celery-011    | 8.0.1                            |

    @gate-121
    Scenario Outline: the gate refuses a broker whose sentinels have a defect: <DEFECT>
      Given a broker with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                       | SCENARIO   | CAUSE                   |
        | a sentinel that names another primary        | celery-260 | most others             |
        | a sentinel that does not answer              | celery-260 | refuses the connection  |
        | a sentinel with another quorum               | celery-260 | has quorum 1            |
        | two sentinels                                | celery-261 | 1 of 2 needed ones      |
        | a quorum of all sentinels                    | celery-261 | a quorum of 3           |
        | dead sentinels that are still voters         | celery-261 | of which 3 live         |
        | sentinels without a replica                  | celery-262 | knows no replica        |
        | a replica that is never promoted             | celery-262 | the priority 0          |
        | a replica that lost its primary              | celery-262 | lost its primary        |
        | a replica that is behind                     | celery-262 | behind its primary      |
        | a sentinel with a wrong password             | celery-262 | auth-pass               |
        | a primary without masterauth                 | celery-262 | no masterauth           |
        | sentinels that notice too early              | celery-263 | down-after-milliseconds |
        | sentinels that give up at once               | celery-263 | failover-timeout        |
        | sentinels without a password, on the network | celery-264 | without a password      |

    @gate-025
    Scenario Outline: the gate refuses a cluster with a defect: <DEFECT>
      Given a cluster with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                                       | SCENARIO    | CAUSE                        |
        | failures are noticed late                                    | cluster-001 | seen 60000                   |
        | replicas never take over                                     | cluster-002 | no-failover                  |
        | replicas of any age take over                                | cluster-002 | validity-factor              |
        | a short replication backlog                                  | cluster-010 | repl-backlog-size            |
        | few connections                                              | cluster-011 | seen 32                      |
        | unbounded buffers for replicas                               | cluster-010 | without bound                |
        | no replicas                                                  | cluster-003 | seen 0                       |
        | a dead replica                                               | cluster-003 | failed nodes                 |
        | a replica that never finished its first copy                 | cluster-003 | unlinked replicas            |
        | an open slot                                                 | cluster-007 | open slots                   |
        | a slot that a replica keeps open                             | cluster-007 | unlike its primary           |
        | a former id of a node                                        | cluster-161 | former id                    |
        | a replica that follows a dead node                           | cluster-162 | which is dead                |
        | two primaries in one shard                                   | cluster-163 | second primary               |
        | a replica that cannot write its copy                         | cluster-164 | full copies                  |
        | a slot without owner                                         | cluster-029 | 16383                        |
        | one node has nearly all slots                                | cluster-008 | slot imbalance               |
        | a hostname that does not resolve                             | cluster-031 | no-host.invalid              |
        | two primaries                                                | cluster-004 | seen 2                       |
        | no memory limit                                              | cluster-005 | maxmemory                    |
        | old values from a minority                                   | cluster-006 | reads-when-down              |
        | one node with another memory limit                           | cluster-050 | maxmemory                    |
        | one node that knows other users                              | cluster-050 | user guest                   |
        | one node of another version                                  | cluster-009 | 6.2.0                        |
        | redirections lead nowhere                                    | cluster-065 | 127.0.0.1:1                  |
        | one write in 200 is lost                                     | cluster-013 | writes lost                  |
        | reads are stale                                              | cluster-015 | reads stale                  |
        | deletes are acknowledged and lost                            | cluster-016 | deleted keys found           |
        | one increment in 50 is lost                                  | cluster-018 | increments lost              |
        | a condition is dropped                                       | cluster-017 | locks granted                |
        | values are cut at 64 KiB                                     | cluster-014 | bytes changed                |
        | an address that leads nowhere                                | cluster-031 | 127.0.0.1:1                  |
        | a password for replication that is wrong                     | cluster-091 | masterauth                   |
        | a function on one primary alone                              | cluster-092 | lib                          |
        | one primary is nearly full                                   | cluster-093 | memory in use                |
        | one node whose log cannot be rewritten                       | cluster-094 | bgrewrite_status             |
        | one node that stalls                                         | cluster-100 | late answers                 |
        | commands stall one node                                      | cluster-101 | EVAL                         |
        | dead connections are not noticed                             | cluster-102 | tcp-keepalive                |
        | idle connections are cut off                                 | cluster-103 | 5 s                          |
        | unbounded buffers for subscribers                            | cluster-104 | without bound                |
        | small buffers for clients                                    | cluster-104 | normal                       |
        | no password, on the network                                  | cluster-130 | without a password           |
        | plain text, on the network                                   | cluster-132 | without TLS                  |
        | an application with all rights                               | cluster-135 | FLUSHALL                     |
        | a version with known holes                                   | cluster-012 | 8.0.1                        |
        | increments lose their fraction                               | cluster-095 | replies wrong of INCRBYFLOAT |
        | the conditions of a ttl are dropped                          | cluster-096 | replies wrong of EXPIRE      |
        | one deletion in 100 deletes nothing                          | cluster-097 | replies wrong of GET         |
        | replicas confirm nothing                                     | cluster-098 | replicas that confirmed      |
        | a scan misses keys                                           | cluster-099 | keys missed                  |
        | two nodes at one address                                     | cluster-031 | two nodes announce           |
        | clients get no host                                          | cluster-110 | gives no host                |
        | one node that knows no replicas                              | cluster-111 | is unknown to                |
        | one node with another clock                                  | cluster-112 | clock difference             |
        | a key in a slot of another primary                           | cluster-113 | unreachable keys             |
        | primaries without files                                      | cluster-114 | keeps no files               |
        | two of three primaries on one host                           | cluster-115 | holds 2 of 3                 |
        | a replica on the host of its primary                         | cluster-115 | all its replicas             |
        | two of three primaries in one zone                           | cluster-115 | zone-a: holds 2 of 3         |
        | a replica in the zone of its primary                         | cluster-115 | all its replicas             |
        | a read of several keys misses one in 20 times                | cluster-140 | replies wrong of MGET        |
        | an application's user on the primaries alone                 | cluster-141 | refuses the login            |
        | an application as administrator, on the network              | cluster-131 | default user                 |
        | TLS 1.1, on the network                                      | cluster-133 | TLSv1.1                      |
        | no forward secrecy, on the network                           | cluster-133 | no forward secrecy           |
        | a certificate that ends tomorrow, on the network             | cluster-134 | ends in 1 days               |
        | a certificate of one node that ends tomorrow, on the network | cluster-134 | ends in 1 days               |
        | a certificate that is not checked, on the network            | cluster-133 | ssl_cert_reqs=none           |
        | one shard without ttls                                       | cluster-116 | reported ttl                 |
        | one shard whose ttls are doubled                             | cluster-117 | life of a key                |
        | a clock that is wrong                                        | cluster-118 | of the clocks                |
        | one shard with few connections                               | cluster-119 | refused of                   |
        | one shard without messages                                   | cluster-120 | no message reached           |
        | a replica that its peers take for a primary                  | cluster-170 | and is a primary at          |
        | one node that knows old host names                           | cluster-170 | none, and old-host at        |
        | a node in its handshake for ever                             | cluster-175 | no answer on its bus port 1  |
        | a replica behind a slow link                                 | cluster-171 | lacks 1 MB                   |
        | a full output buffer for a replica                           | cluster-171 | 60% of its limit             |
        | a shard that holds elections                                 | cluster-172 | elections an hour            |
        | a fork that copies most of the memory                        | cluster-173 | when it is full and forks    |

    @gate-090
    Scenario Outline: the gate refuses a result backend with a defect: <DEFECT>
      Given a backend with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                            | SCENARIO    | CAUSE                       |
        | unread results are evicted                        | results-001 | allkeys-lru                 |
        | a writable replica                                | results-003 | slave                       |
        | no memory limit                                   | results-004 | maxmemory                   |
        | nearly full                                       | results-005 | used_memory of maxmemory    |
        | few connections                                   | results-006 | maxclients                  |
        | unbounded buffers for subscribers                 | results-007 | without bound               |
        | one write in 200 is lost                          | results-020 | writes lost                 |
        | values are cut at 64 KiB                          | results-021 | bytes changed               |
        | transactions are refused                          | results-022 | EXEC without MULTI          |
        | one increment in 50 is lost                       | results-023 | increments lost             |
        | messages reach no subscriber                      | results-024 | no message reached          |
        | small buffers for subscribers                     | results-025 | reached no subscriber       |
        | a ttl is doubled                                  | results-026 | life of a key               |
        | stalls twice a second                             | results-027 | late answers                |
        | some connections reach a replica                  | results-003 | connections reach a replica |
        | a short backlog for its replica                   | results-007 | 20480 bytes                 |
        | a buffer for one result                           | results-007 | 1048576 bytes               |
        | commands above 1 MiB end the connection           | results-021 | ends at a command           |
        | no password, on the network                       | results-040 | without a password          |
        | an application as administrator, on the network   | results-041 | default user                |
        | plain text, on the network                        | results-042 | without TLS                 |
        | TLS 1.1, on the network                           | results-043 | TLSv1.1                     |
        | no forward secrecy, on the network                | results-043 | no forward secrecy          |
        | a certificate that is not checked, on the network | results-043 | ssl_cert_reqs=none          |
        | a certificate that ends tomorrow, on the network  | results-044 | ends in 1 days              |
        | an application with all rights                    | results-045 | FLUSHALL                    |

    @gate-110
    Scenario Outline: the gate refuses a running worker with a defect: <DEFECT>
      Given a worker with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "refused"
      And the scenario "<SCENARIO>" failed with "<CAUSE>"

      Examples:
        | DEFECT                                         | SCENARIO   | CAUSE                                                   |
        | a visibility timeout shorter than a task runs  | celery-203 | visibility_timeout is 60 s                              |
        | a countdown longer than the visibility timeout | celery-204 | held for                                                |
        | a visibility timeout set for results alone     | celery-204 | without effect on tasks                                 |
        | another app with a shorter visibility timeout  | celery-205 | has 60 s                                                |
        | a task that kills each process in turn         | celery-206 | was given to the next one                               |
        | no time limit                                  | celery-200 | no time limit                                           |
        | a soft limit above the hard one                | celery-202 | is not below                                            |
        | tasks reserved beside an idle worker           | celery-208 | is idle                                                 |
        | an unlimited prefetch                          | celery-208 | unlimited                                               |
        | pickle is accepted                             | celery-201 | pickle                                                  |
        | messages of a refused content type             | celery-228 | x-python-serialize                                      |
        | results that never expire                      | celery-209 | have no ttl                                             |
        | a queue that no worker reads                   | celery-220 | mail                                                    |
        | a route to a queue that no worker reads        | celery-221 | biling                                                  |
        | a task that no worker knows                    | celery-222 | shop.renamed                                            |
        | a schedule of a task that no worker knows      | celery-227 | shop.clean_upp                                          |
        | a queue that its worker has left               | celery-229 | none                                                    |
        | priorities that no worker reads                | celery-226 | priority 1                                              |
        | two apps in one queue                          | celery-215 | mail1                                                   |
        | a sender without the key prefix                | celery-220 | shop:celery                                             |
        | a worker that takes no task                    | celery-223 | BRPOP                                                   |
        | two workers of one name                        | celery-212 | 2 workers answer                                        |
        | processes that end at their start              | celery-223 | runs none                                               |
        | a worker of an older release                   | celery-214 | shop.new                                                |
        | a version with a known defect                  | celery-217 | kombu 5.6.2                                             |
        | two time zones                                 | celery-216 | enable_utc                                              |
        | a worker that gives up its broker              | celery-219 | broker_connection_retry                                 |
        | arguments of megabytes                         | celery-230 | MB a message                                            |
        | mailboxes of dead processes                    | celery-225 | reply.celery.pidbox                                     |
        | tasks that are not given back                  | celery-224 | unacked_mutex                                           |
        | a pool that enforces no limit                  | celery-202 | although its limit is 2 s                               |
        | results that expire while a chord waits        | celery-210 | while a chord                                           |
        | two beats of Celery 5.7                        | celery-213 | 2 beats                                                 |
        | a schedule without a beat                      | celery-213 | no worker ran it                                        |
        | a clock that is ahead                          | celery-216 | ahead of                                                |
        | a setting of the memory of an empty process    | celery-218 | 1000 KiB                                                |
        | a fault of one of two apps with one node name  | celery-200 | no time limit (1): mail:worker1@                        |

    @gate-113
    Scenario Outline: the gate advises about a running worker, and accepts it: <DEFECT>
      Given a worker with the defect "<DEFECT>"
      When the gate judges the deployment
      Then the verdict is "accepted"
      And the scenarios ended
        | SCENARIO   | STATUS  | REASON   |
        | <SCENARIO> | skipped | <ADVICE> |

      Examples:
        | DEFECT                                             | SCENARIO   | ADVICE                        |
        | late acknowledgement alone                         | celery-206 | would return for ever         |
        | reserved tasks that outlast the visibility timeout | celery-208 | each up to its time limit     |
        | countdowns held without a limit                    | celery-204 | without worker_eta_task_limit |
        | a task that a killed worker held                   | celery-224 | no worker has shop.sleep      |
        | tasks that go on after a lost connection           | celery-231 | on_connection_loss is False   |
        | a long task that is acknowledged early             | celery-207 | with early acknowledgement    |
        | results that expire before a task may end          | celery-210 | result_expires is 3 s         |
        | results that are given up                          | celery-211 | always_retry is False         |
        | retries without a limit                            | celery-232 | max_retries is None           |
        | two beats                                          | celery-213 | it is due                     |
        | a beat that outruns the workers                    | celery-233 | without expires               |
        | a version that leaks memory                        | celery-217 | celery 5.5.3 leaks memory     |
