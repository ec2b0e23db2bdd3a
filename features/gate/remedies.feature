@slow
Feature: The remedy of a refusal makes the deployment acceptable
  A refusal without a remedy only adds work. Each failure shows what to type, and for a managed service where to set it.
  For each defect that commands mend, this feature types the commands, and the gate judges again. `docs/refusals.md`
  lists all defects with their remedies.

  Rule: After the commands of the shown remedy, the verdict is "accepted"

    @gate-070
    Scenario Outline: the remedy of a cache makes it acceptable: <DEFECT>
      Given a cache with the defect "<DEFECT>"
      When the gate judges the deployment
      And the commands of its remedy are typed
      And the gate judges the deployment
      Then the verdict is "accepted"

      Examples:
        | DEFECT                               |
        | no memory limit                      |
        | a limit above the machine's memory   |
        | nothing is evicted                   |
        | only keys with a ttl are evicted     |
        | snapshots                            |
        | an append-only file                  |
        | few connections                      |
        | unbounded buffers for subscribers    |
        | reads only                           |
        | writes are refused without replicas  |
        | a user without the right to SET      |
        | a user without the right to GET      |
        | an application with all rights       |
        | a writable replica                   |
        | dead connections are not noticed     |
        | idle connections are cut off         |
        | small buffers for clients            |
        | connections were refused             |
        | commands stall it                    |
        | no password, on another address, too |
        | a short backlog for its replica      |

    @gate-071
    Scenario Outline: the remedy of a broker makes it acceptable: <DEFECT>
      Given a broker with the defect "<DEFECT>"
      When the gate judges the deployment
      And the commands of its remedy are typed
      And the gate judges the deployment
      Then the verdict is "accepted"

      Examples:
        | DEFECT                               |
        | no memory limit                      |
        | a limit above the machine's memory   |
        | nearly full                          |
        | tasks are evicted                    |
        | locks and results are evicted        |
        | nothing on disk                      |
        | the log is never forced to disk      |
        | the log waits while it is rewritten  |
        | idle workers are cut off             |
        | dead connections are not noticed     |
        | few connections                      |
        | small buffers for subscribers        |
        | reads only                           |
        | a writable replica                   |
        | unbounded buffers for subscribers    |
        | small buffers for clients            |
        | connections were refused             |
        | commands stall it                    |
        | an application with all rights       |
        | a short backlog for its replica      |
        | a buffer for one result              |
        | a user without channels              |
        | a lock that never ends               |
        | a hole that a setting opens          |
        | a sentinel with another quorum       |
        | a quorum of all sentinels            |
        | dead sentinels that are still voters |
        | a replica that is never promoted     |
        | a sentinel with a wrong password     |
        | a primary without masterauth         |
        | sentinels that notice too early      |
        | sentinels that give up at once       |

    @gate-072
    Scenario Outline: the remedy of a cluster makes it acceptable: <DEFECT>
      Given a cluster with the defect "<DEFECT>"
      When the gate judges the deployment
      And the commands of its remedy are typed
      And the gate judges the deployment
      Then the verdict is "accepted"

      Examples:
        | DEFECT                                       |
        | failures are noticed late                    |
        | replicas never take over                     |
        | replicas of any age take over                |
        | a short replication backlog                  |
        | few connections                              |
        | no memory limit                              |
        | old values from a minority                   |
        | unbounded buffers for replicas               |
        | a replica that never finished its first copy |
        | a function on one primary alone              |
        | an open slot                                 |
        | a slot that a replica keeps open             |
        | a former id of a node                        |
        | a replica that follows a dead node           |
        | a replica that cannot write its copy         |
        | a key in a slot of another primary           |
        | an address that leads nowhere                |
        | a hostname that does not resolve             |
        | one node with another memory limit           |
        | two nodes at one address                     |
        | clients get no host                          |
        | primaries without files                      |
        | one node that knows other users              |
        | a password for replication that is wrong     |
        | one primary is nearly full                   |
        | commands stall one node                      |
        | dead connections are not noticed             |
        | idle connections are cut off                 |
        | unbounded buffers for subscribers            |
        | small buffers for clients                    |
        | an application with all rights               |
        | an application's user on the primaries alone |
        | a replica that its peers take for a primary  |
        | a node in its handshake for ever             |
        | a fork that copies most of the memory        |

    @gate-092
    Scenario Outline: the remedy of a result backend makes it acceptable: <DEFECT>
      Given a backend with the defect "<DEFECT>"
      When the gate judges the deployment
      And the commands of its remedy are typed
      And the gate judges the deployment
      Then the verdict is "accepted"

      Examples:
        | DEFECT                            |
        | unread results are evicted        |
        | no memory limit                   |
        | few connections                   |
        | unbounded buffers for subscribers |
        | small buffers for subscribers     |
        | a writable replica                |
        | nearly full                       |
        | a short backlog for its replica   |
        | a buffer for one result           |
        | an application with all rights    |

    @gate-112
    Scenario Outline: the remedy of running workers makes them acceptable: <DEFECT>
      Given a worker with the defect "<DEFECT>"
      When the gate judges the deployment
      And the commands of its remedy are typed
      And the gate judges the deployment
      Then the verdict is "accepted"

      Examples:
        | DEFECT                                         |
        | a visibility timeout shorter than a task runs  |
        | a countdown longer than the visibility timeout |
        | a visibility timeout set for results alone     |
        | no time limit                                  |
        | a soft limit above the hard one                |
        | an unlimited prefetch                          |
        | pickle is accepted                             |
        | results that never expire                      |
        | a queue that no worker reads                   |
        | a route to a queue that no worker reads        |
        | a worker that gives up its broker              |
        | results that expire while a chord waits        |
        | a setting of the memory of an empty process    |
        | tasks that are not given back                  |
