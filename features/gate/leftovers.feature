Feature: Whatever ends a command, nothing of it is left behind
  A server that outlives the command that started it takes a port, memory and the trust of whoever finds it.
  A process that is killed cannot tidy up after itself, so its servers must notice by themselves.

  Background:
    Given these addresses
      | NAME    | OF                           |
      | NOTHING | a port where nothing listens |

  Rule: A script takes its servers and files along

    @gate-016
    Scenario Outline: <script> and <end>
      Given somebody started "exec python src/<script>"
      And it has said "<words>"
      And <number> of its servers and workers run
      When it gets <end>
      Then it ends
      And it exits with <code>
      And nothing of it is left within 5 seconds

      Examples: what a process can answer
        | script                     | words     | number | end     | code |
        | cache_example.py           | Retrieved | 1      | Ctrl-C  | 130  |
        | serve.py cache             | until     | 1      | Ctrl-C  | 0    |

      @slow
      Examples: what a process can answer, more
        | script                     | words     | number | end     | code |
        | cluster_example.py --watch | watching  | 6      | Ctrl-C  | 0    |
        | serve.py broker            | until     | 4      | SIGTERM | 0    |

      Examples: what it cannot
        | script                     | words     | number | end     | code |
        | cluster_example.py --watch | watching  | 6      | SIGKILL | -9   |
        | serve.py broker            | until     | 4      | SIGKILL | -9   |

      @slow
      Examples: what it cannot, more
        | script                     | words     | number | end     | code |
        | cache_example.py           | Retrieved | 1      | SIGTERM | -15  |

      @slow
      Examples: and the rest
        | script                     | words     | number | end     | code |
        | cluster_example.py --watch | watching  | 6      | SIGTERM | -15  |
        | serve.py cluster           | until     | 6      | SIGTERM | 0    |
        | serve.py broker            | until     | 4      | Ctrl-C  | 0    |
        | cache_example.py           | Retrieved | 1      | SIGKILL | -9   |

    @gate-017
    Scenario: a script that comes to its end
      Given somebody started "exec python src/cache_example.py --wait 4"
      And 1 of its servers and workers run
      Then it ends
      And it exits with 0
      And nothing of it is left within 5 seconds

  Rule: A run of pytest takes those of all its processes along

    @gate-018
    Scenario: a run that comes to its end
      Given somebody started "exec pytest features/pure_cache/data_path.feature -k lives -n 1"
      And 1 of its servers and workers run
      Then it ends
      And it exits with 0
      And nothing of it is left within 5 seconds

    @gate-019 @waits
    Scenario Outline: a run that gets <end> in the middle
      Given somebody started "exec pytest features/pure_cache/username.feature <processes>"
      And <number> of its servers and workers run
      When it gets <end>
      Then it ends
      And it exits with <code>
      And nothing of it is left within <limit> seconds

      Examples: a process of xdist takes 5 to 15 seconds to give up when nobody listens any more
        | processes | number | end     | code | limit |
        | -n 1      | 1      | SIGKILL | -9   | 20    |

      @slow
      Examples: and the rest
        | processes | number | end     | code | limit |
        | -n 1      | 1      | Ctrl-C  | 2    | 5     |
        | -n 1      | 1      | SIGTERM | 2    | 5     |
        | -n 0      | 1      | Ctrl-C  | 2    | 5     |
        | -n 0      | 1      | SIGTERM | 2    | 5     |

    @gate-020
    Scenario: a process of xdist that gets SIGKILL is a failure, and takes its servers along
      Given somebody started "exec pytest features/pure_cache/username.feature -n 1"
      And 1 of its servers and workers run
      When its xdist process gets SIGKILL
      Then it ends
      And it exits with 1
      And it says
        """
        worker 'gw0' crashed while running
        """
      And nothing of it is left within 5 seconds
