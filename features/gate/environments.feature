Feature: A small, full or shared machine is named as the cause, or makes no difference
  Build machines are small, full, shared and partly read-only. A traceback or a stuck run there looks like a fault of the
  deployment, and an operator hunts for it in the wrong place. A report that is silently incomplete is worse still.

  Rule: A missing resource is named in one line

    @gate-053
    Scenario Outline: <SCRIPT> says that <MACHINE>
      When I run "python src/<SCRIPT>"
        | OPTION  | VALUE     |
        | machine | <MACHINE> |
      Then the command exits with 1
      And the standard output is empty
      And the error output is "<SCRIPT>: <REASON>"

      Examples:
        | SCRIPT           | MACHINE          | REASON                                                                |
        | cache_example.py | the disk is full | no embedded cache can be started: less than 1 MiB is left in /dev/shm |

      @slow
      Examples: more
        | SCRIPT             | MACHINE         | REASON                                                                                              |
        | cluster_example.py | no port is free | no embedded cluster can be started: no free port: 6 between 10000 and 32000 of 127.0.0.1 are needed |

    @gate-054 @slow
    Scenario Outline: a run of pytest says that <MACHINE>, and its verdict is error
      When I run "pytest features/pure_cache/data_path.feature -k cache-029 --processes 0 --tb=line"
        | OPTION  | VALUE     |
        | machine | <MACHINE> |
      Then the command exits with 1
      And the output contains
        """
        <REASON>
        verdict: error (1 scenario of
        """

      Examples:
        | MACHINE          | REASON                              |
        | the disk is full | less than 1 MiB is left in /dev/shm |

      Examples: more
        | MACHINE         | REASON                                                          |
        | no port is free | no free port: 1 between 10000 and 32000 of 127.0.0.1 are needed |

    @gate-056 @slow
    Scenario: a run of pytest fails if the disk gets full before its report is written
      When I run "pytest features/pure_cache/data_path.feature --processes 0 --report $TMPDIR/r"
        | OPTION  | VALUE              |
        | machine | the disk gets full |
      Then the command exits with 1
      And the output contains
        """
        the report cannot be written: No space left on device
        """
      And the output does not contain "Traceback"

  Rule: A limit that leaves a run enough to work with makes no difference

    @gate-057
    Scenario Outline: cluster_example.py works where <MACHINE>
      When I run "python src/cluster_example.py"
        | OPTION  | VALUE     |
        | machine | <MACHINE> |
      Then the command exits with 0
      And the standard output contains
        """
        Wrote 1000 keys and read them back.
        """

      Examples:
        | MACHINE               |
        | 256 files can be open |

    @gate-058 @slow
    Scenario Outline: a run of pytest is accepted where <MACHINE>
      When I run "pytest features/pure_cache/data_path.feature -k cache-029 --processes 0"
        | OPTION  | VALUE     |
        | machine | <MACHINE> |
      Then the command exits with 0
      And the output contains
        """
        verdict: accepted (1 scenario of
        """

      Examples:
        | MACHINE                            |
        | folders have spaces in their names |

      Examples: more
        | MACHINE                      |
        | the home folder is read-only |
        | the same runs already        |
