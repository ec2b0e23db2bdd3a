Feature: A compose stack ends with the run that started it
  Eleven containers that outlive their run hold ports and memory, and the next person has to find out whose they are.
  A run that is killed cannot take them down itself, and the process that should do it in its place may die with it.

  Background:
    Given these addresses
      | NAME    | OF                           |
      | NOTHING | a port where nothing listens |

  Rule: Whatever ends a run, its stack is gone

    @gate-009 @slow
    Scenario Outline: a run that gets <end>
      Given somebody started "exec env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/username.feature --stack=docker -n 0"
      And its compose stack is up
      When it gets <end>
      Then it ends
      And it exits with <code>
      And its compose stack is gone within 60 seconds

      Examples:
        | end     | code |
        | Ctrl-C  | 2    |
        | SIGTERM | 2    |
        | SIGKILL | -9   |

    @gate-010 @slow
    Scenario: a run that is killed together with the guard of its stack, and the next run
      Given somebody started "exec env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/username.feature --stack=docker -n 0"
      And its compose stack is up
      When it and the guard of its compose stack get SIGKILL
      Then it ends
      And its compose stack is left
      When somebody runs "env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/data_path.feature -k lives --stack=docker -n 0"
      Then it exits with 0
      And its compose stack is gone within 1 second
