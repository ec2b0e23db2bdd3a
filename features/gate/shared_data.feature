Feature: The gate judges a deployment in use without harm
  Most servers that are worth judging are in use, and hold foreign keys: keys of other applications. A gate that deletes
  these, leaves its own keys for ever, or floods a busy server with commands is itself an outage.

  Rule: The gate touches only its own keys, changes no setting, and leaves no key for ever

    @gate-036
    Scenario Outline: a gate with least privilege changes nothing on a <ROLE> full of foreign keys
      Given a <ROLE> with 2000 foreign keys
      When the gate judges the deployment
        | OPTION    | VALUE               |
        | user      | of src/gate_user.py |
        | arguments | <ARGUMENTS>         |
      Then the verdict is "<VERDICT>"
      And there are no foreign keys in commands
      And there are no changed foreign keys
      And there are no keys of the gate without ttl
      And the servers received these commands
        | COMMAND      | NUMBER    |
        | FLUSHALL     | exactly 0 |
        | FLUSHDB      | exactly 0 |
        | KEYS         | exactly 0 |
        | CONFIG SET   | exactly 0 |
        | SWAPDB       | exactly 0 |
        | SCRIPT FLUSH | exactly 0 |
        | CLIENT KILL  | exactly 0 |
        | DEBUG        | exactly 0 |

      # The engine's version is not the subject here.
      Examples: a part that takes seconds
        | ROLE  | ARGUMENTS                   | VERDICT |
        | cache | -m audit -k "not cache-011" | partial |

      @slow
      Examples: more
        | ROLE    | ARGUMENTS                     | VERDICT |
        | broker  | -k "celery-082 or celery-025" | partial |
        | cluster | -m audit -k "not cluster-012" | partial |

      @slow
      Examples: one of two judges, which keep --max-ops together by a key of the deployment
        | ROLE    | ARGUMENTS                                                | VERDICT |
        | cache   | --shard 0/2 --max-ops 5000 -m audit -k "not cache-011"   | partial |
        | cluster | --shard 0/2 --max-ops 5000 -m audit -k "not cluster-012" | partial |

      @slow
      Examples: all that disrupts nothing; this user may not see the ttls of foreign keys
        | ROLE    | ARGUMENTS | VERDICT  |
        | cache   | -rs       | partial  |
        | broker  | -rs       | accepted |
        | cluster | -rs       | partial  |

    @gate-037 @slow
    Scenario: the next run of the gate deletes the keys that a killed run has left
      Given a broker with 2000 foreign keys
      When the gate judges the deployment
        | OPTION      | VALUE                    |
        | arguments   | -k celery-081            |
        | killed when | a worker waits for tasks |
      And the gate judges the deployment
        | OPTION    | VALUE         |
        | arguments | -k celery-082 |
      Then the verdict is "partial"
      And there are no changed foreign keys
      And there are no keys of the gate without ttl

  Rule: The rate of commands is bounded by --max-ops
    200 commands of a started pipeline may exceed the bound. On a busy machine a command may also wait 0.1 seconds for a
    processor after its turn. It then arrives together with later ones.

    @gate-038 @slow
    Scenario Outline: all processes of the gate together send a <ROLE> at most 1000 commands a second
      Given a <ROLE> with 10 foreign keys
      When the gate judges the deployment
        | OPTION    | VALUE                           |
        | arguments | <ARGUMENTS> --max-ops 1000 --processes 2 |
      Then the verdict is "partial"
      And the measurement "commands in the busiest second" is at most 1300

      Examples:
        | ROLE   | ARGUMENTS                     |
        | cache  | -k cache-022                  |
        | broker | -k "celery-082 or celery-025" |

  Rule: A command that a server refuses is sent once, and every scenario that needs it names the command
    Some managed services have neither `CONFIG` nor `ACL`. Of several processes only the first one asks.

    @gate-039 @slow
    Scenario: the gate skips scenarios that need CONFIG, ACL or INFO on a service without these commands
      Given a cache with 10 foreign keys
      When the gate judges the deployment
        | OPTION    | VALUE                      |
        | user      | without: config, acl, info |
        | arguments | -m audit                   |
      Then the verdict is "partial"
      And the scenarios ended
        | SCENARIO  | STATUS  | REASON                                     |
        | cache-005 | skipped | needs CONFIG GET, which the server refuses |
        | cache-011 | skipped | needs INFO, which the server refuses       |
        | cache-012 | skipped | needs ACL WHOAMI, which the server refuses |
      And the servers received these commands
        | COMMAND    | NUMBER    |
        | CONFIG GET | exactly 1 |
        | ACL WHOAMI | exactly 1 |
        | ACL DRYRUN | exactly 1 |
