Feature: A command that ends leaves no process and no file behind
  A server that outlives its command keeps a port and memory, and the next run may connect to it by mistake. A killed
  process cannot clean up after itself, so its servers have to notice that it is gone.

  Rule: A script that ends leaves neither servers nor files

    @gate-016
    Scenario Outline: <SCRIPT> leaves neither server nor file after <SIGNAL>
      Given "exec python src/<SCRIPT>" is running
        | OPTION       | VALUE     |
        | first output | <OUTPUT>  |
        | servers      | <SERVERS> |
      When the command gets <SIGNAL>
      Then the command exits with <CODE>
      And nothing of the command is left within 5 seconds

      Examples: a signal that a process can handle
        | SCRIPT         | OUTPUT | SERVERS | SIGNAL | CODE |
        | serve.py cache | until  | 1       | Ctrl-C | 0    |

      @slow
      Examples: signals that a process can handle, more
        | SCRIPT                     | OUTPUT    | SERVERS | SIGNAL  | CODE |
        | cache_example.py           | Retrieved | 1       | Ctrl-C  | 130  |
        | cluster_example.py --watch | watching  | 6       | Ctrl-C  | 0    |
        | serve.py broker            | until     | 4       | SIGTERM | 0    |

      Examples: a signal that ends a process at once
        | SCRIPT                     | OUTPUT   | SERVERS | SIGNAL  | CODE |
        | cluster_example.py --watch | watching | 6       | SIGKILL | -9   |

      @slow
      Examples: signals that end a process at once, more
        | SCRIPT           | OUTPUT    | SERVERS | SIGNAL  | CODE |
        | serve.py broker  | until     | 4       | SIGKILL | -9   |
        | cache_example.py | Retrieved | 1       | SIGTERM | -15  |

      @slow
      Examples: further signals
        | SCRIPT                     | OUTPUT    | SERVERS | SIGNAL  | CODE |
        | cluster_example.py --watch | watching  | 6       | SIGTERM | -15  |
        | serve.py cluster           | until     | 6       | SIGTERM | 0    |
        | serve.py broker            | until     | 4       | Ctrl-C  | 0    |
        | cache_example.py           | Retrieved | 1       | SIGKILL | -9   |

    @gate-017 @slow
    Scenario: cache_example.py leaves neither server nor file when it has finished
      Given "exec python src/cache_example.py --wait 4" is running
        | OPTION  | VALUE |
        | servers | 1     |
      Then the command exits with 0
      And nothing of the command is left within 5 seconds

  Rule: A run of pytest that ends leaves neither servers nor files of any of its processes

    @gate-018
    Scenario Outline: a run of pytest <PROCESSES> leaves neither server nor file when it has finished
      Given "exec pytest features/pure_cache/data_path.feature -k 'increment or acknowledged' <PROCESSES>" is running
        | OPTION  | VALUE |
        | servers | 1     |
      Then the command exits with 0
      And nothing of the command is left within 5 seconds

      Examples:
        | PROCESSES     |
        | --processes 1 |

      @slow
      Examples: more
        | PROCESSES     |
        | --processes 0 |

    @gate-019 @slow @waits
    Scenario Outline: a run of pytest <PROCESSES> leaves neither server nor file after <SIGNAL> in the middle
      Given "exec pytest features/pure_cache/expiry.feature -k cache-087 <PROCESSES>" is running
        | OPTION  | VALUE |
        | servers | 1     |
      When the command gets <SIGNAL>
      Then the command exits with <CODE>
      And nothing of the command is left within <LIMIT> seconds

      Examples: a scenario's process ends with the process that started it
        | PROCESSES     | SIGNAL  | CODE | LIMIT |
        | --processes 1 | SIGKILL | -9   | 5     |

      Examples: further signals
        | PROCESSES     | SIGNAL  | CODE | LIMIT |
        | --processes 1 | Ctrl-C  | 2    | 5     |
        | --processes 1 | SIGTERM | 2    | 5     |
        | --processes 0 | Ctrl-C  | 2    | 5     |
        | --processes 0 | SIGTERM | 2    | 5     |

    @gate-020 @slow
    Scenario: a killed process of a run fails its scenario, and leaves neither server nor file
      Given "exec pytest features/pure_cache/expiry.feature -k cache-087 --processes 1" is running
        | OPTION  | VALUE |
        | servers | 1     |
      When the forked process gets SIGKILL
      Then the command exits with 1
      And the output contains
        """
        the process of this scenario ended with SIGKILL
        """
      And nothing of the command is left within 5 seconds

  Rule: A compose stack is gone when the run that started it is gone
    Eleven containers that outlive their run keep ports and memory. A killed run cannot remove them, and the guard that
    should do it may be killed with it.

    @gate-009 @slow
    Scenario Outline: a compose stack is gone after its run gets <SIGNAL>
      Given "exec env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/expiry.feature -k cache-087 --stack=docker --processes 0" is running
        | OPTION       | VALUE              |
        | first output | docker stack ready |
      Then the compose stack has at least 1 container
      When the command gets <SIGNAL>
      Then the command exits with <CODE>
      And the compose stack has exactly 0 containers within 60 seconds

      Examples:
        | SIGNAL  | CODE |
        | Ctrl-C  | 2    |
        | SIGTERM | 2    |
        | SIGKILL | -9   |

    @gate-010 @slow
    Scenario: the next run removes the compose stack of a run that was killed together with its guard
      Given "exec env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/expiry.feature -k cache-087 --stack=docker --processes 0" is running
        | OPTION       | VALUE              |
        | first output | docker stack ready |
      When the guard of the compose stack gets SIGKILL
      And the command gets SIGKILL
      Then the command exits with -9
      And the compose stack has at least 1 container
      When I run "env -u CACHE_PORT -u BROKER_PORT -u CLUSTER_PORT_1 pytest features/pure_cache/data_path.feature -k lives --stack=docker --processes 0"
      Then the command exits with 0
      And the compose stack has exactly 0 containers within 1 second
