@slow
Feature: The gate disrupts a deployment only on request, and only by commands
  A gate that kills a process of a deployment in use is an outage. Operators fail over and reshard every month, and only
  a rehearsal by the same commands shows whether a cluster is fit for that.

  Rule: Without --allow-disruption nothing is disrupted

    @gate-011
    Scenario: the gate skips disruptive scenarios without --allow-disruption
      Given a healthy cluster of the kind "plain"
      When the gate judges the deployment
        | OPTION    | VALUE                                                        |
        | arguments | -m disruptive -k "cluster-048 or cluster-079 or cluster-084" |
      Then the verdict is "error"
      And the scenarios ended
        | SCENARIO  | STATUS  | REASON                                                 |
        | every one | skipped | external: it is disrupted only with --allow-disruption |

  Rule: With --allow-disruption roles change and slots move by command, and the data stays as it was

    @gate-012
    Scenario: the gate migrates slots and fails over by command, and kills no process
      Given a cluster with 2000 foreign keys
      When the gate judges the deployment
        | OPTION    | VALUE                                           |
        | arguments | -m "disruptive and not slow" --allow-disruption |
      Then the verdict is "partial"
      And the scenarios ended
        | SCENARIO    | STATUS |
        | cluster-048 | passed |
        | cluster-079 | passed |
        | cluster-084 | passed |
      And there are no changed foreign keys
      And the servers received these commands
        | COMMAND    | NUMBER    |
        | FLUSHALL   | exactly 0 |
        | CONFIG SET | exactly 0 |
        | SHUTDOWN   | exactly 0 |
        | DEBUG      | exactly 0 |
