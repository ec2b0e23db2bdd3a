Feature: A deployment that others use is judged without harm
  Most servers that are worth judging are in use. A gate that empties a database, leaves its keys there for ever or asks
  more than a busy server can answer is the outage that it was bought to prevent.

  Rule: Only keys of the run are touched, no setting is changed, and nothing of it stays

    @gate-036
    Scenario Outline: a <ROLE> full of keys of others, by a user of least privilege
      Given 2000 keys of others on a <ROLE>
      And a user with the rights of src/gate_user.py alone
      When the gate judges it with <OPTIONS>
      Then its judgement is "<VERDICT>"
      And every key that a command named begins with "practices:"
      And the keys of others are as they were
      And the servers ran none of these commands
        | COMMAND      |
        | FLUSHALL     |
        | FLUSHDB      |
        | KEYS         |
        | CONFIG SET   |
        | SWAPDB       |
        | SCRIPT FLUSH |
        | CLIENT KILL  |
        | DEBUG        |
      And what is left of the gate goes by itself

      # Whether the version still gets fixes is not the subject.
      Examples: what takes seconds
        | ROLE    | OPTIONS                  | VERDICT |
        | cache   | -m audit -k "not cache-011"  | partial |
        | broker  | -k "celery-082 or celery-025" | partial |
        | cluster | -m audit -k "not cluster-012"  | partial |

      @slow
      Examples: all that disrupts nothing; the keys of others, whose ttls it may not see, are not judged
        | ROLE    | OPTIONS | VERDICT  |
        | cache   | -rs     | partial  |
        | broker  | -rs     | accepted |
        | cluster | -rs     | partial  |

    @gate-037
    Scenario: what a killed run leaves is swept by the next
      Given 2000 keys of others on a broker
      When the gate is killed while its worker waits for tasks
      And the gate judges it with -k celery-082
      Then its judgement is "partial"
      And the keys of others are as they were
      And what is left of the gate goes by itself

  Rule: The load is bounded
    Beyond the bound, the rest of a pipeline may come at once: 200 commands at most. And a command that had its turn may
    wait for a processor, for a tenth of a second where the machine is busy, and arrive together with later ones.

    @gate-038
    Scenario Outline: a <ROLE> is asked no more than <NUMBER> commands a second, by all processes together
      Given 10 keys of others on a <ROLE>
      When the gate judges it with <OPTIONS> --max-ops <NUMBER> -n 2
      Then its judgement is "partial"
      And in no second the servers were asked more than <NUMBER> commands

      Examples:
        | ROLE   | OPTIONS                  | NUMBER |
        | cache  | -k cache-022          | 1000   |
        | broker | -k 'celery-082 or celery-025' | 1000   |

  Rule: What a server keeps to itself is asked once, and named by every scenario that needs it
    Some managed services have no `CONFIG` and no `ACL`. A run of several processes asks in the first.

    @gate-039
    Scenario: a service that shows neither its settings nor its users
      Given 10 keys of others on a cache
      And a user who may run all but these commands
        | COMMAND    |
        | config     |
        | acl        |
        | info       |
      When the gate judges it with -m audit
      Then its judgement is "partial"
      And it tells "(refuses INFO, CONFIG GET, ACL WHOAMI, ACL LIST, ACL DRYRUN)"
      And these scenarios are skipped
        | SCENARIO                                                      | REASON                                      |
        | cache-005                                         | needs CONFIG GET, which the server refuses  |
        | cache-011                         | needs INFO, which the server refuses        |
        | cache-012 | needs ACL WHOAMI, which the server refuses  |
      And each of these commands was refused exactly 1 times
        | COMMAND     |
        | CONFIG GET  |
        | ACL WHOAMI  |
        | ACL DRYRUN  |
