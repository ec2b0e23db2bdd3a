@slow
Feature: A deployment is disrupted only by those who say so, and only by its own servers
  A gate that ends a process of a deployment in use is an attack. A failover that was planned is what an operator does
  every month, and what shows best whether a cluster is fit for it.

  Rule: Without --allow-disruption nothing is disrupted

    @gate-011
    Scenario: scenarios that disrupt are skipped
      Given a healthy cluster
      When the gate judges it with -m "disruptive" -k "cluster-048 or cluster-079 or cluster-084"
      Then its judgement is "error"
      And every scenario is skipped because "external: it is disrupted only with --allow-disruption"

  Rule: With it, roles change and slots move by command, and all is as before in the end

    @gate-012
    Scenario: what needs neither a dead process nor a changed setting runs
      Given 2000 keys of others on a cluster
      When the gate judges it with -m "disruptive and not slow" --allow-disruption
      Then its judgement is "partial"
      And these scenarios passed
        | SCENARIO    |
        | cluster-048 |
        | cluster-079 |
        | cluster-084 |
      And the keys of others are as they were
      And the servers ran none of these commands
        | COMMAND    |
        | FLUSHALL   |
        | CONFIG SET |
        | SHUTDOWN   |
        | DEBUG      |
