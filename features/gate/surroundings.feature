Feature: A poor machine is named as the reason, or makes no difference
  Build machines are small, full, shared and half read-only. Whoever meets a traceback or a hang there looks for the
  fault in the deployment, and a run that cannot write its results must not look like one that went well.

  Background:
    Given these addresses
      | NAME    | OF                           |
      | NOTHING | a port where nothing listens |

  Rule: What a server needs and the machine lacks is said in one line

    @gate-053
    Scenario Outline: a script where <surroundings>
      When somebody runs "python src/<script>" where <surroundings>
      Then it exits with 1
      And its standard output is empty
      And its standard error is the line "<script>: <reason>"

      Examples:
        | script             | surroundings     | reason                                                                                              |
        | cache_example.py   | the disk is full | no embedded cache can be started: less than 1 MiB is left in /dev/shm                               |
        | cluster_example.py | no port is free  | no embedded cluster can be started: no free port: 6 between 10000 and 32000 of 127.0.0.1 are needed |

    @gate-054
    Scenario Outline: a run where <surroundings>
      When somebody runs "pytest features/pure_cache/data_path.feature -k cache-029 --tb=line" where <surroundings>
      Then it exits with 1
      And it says
        """
        <reason>
        verdict: error (1 scenario of
        """

      Examples:
        | surroundings     | reason                                                         |
        | the disk is full | less than 1 MiB is left in /dev/shm                            |
        | no port is free  | no free port: 1 between 10000 and 32000 of 127.0.0.1 are needed |

  Rule: A server comes back to its port
    A server forks itself to copy or to rewrite its data. Killed then, it leaves a child that listens as well, until it
    first gets the processor: 0.15 s later where all cores are busy.

    @gate-055
    Scenario: something listens on the port of a killed server for a moment longer
      When a server is killed, and something listens on its port for 0.5 seconds more
      Then it came back within 10 seconds

  Rule: A report that cannot be written is no success

    @gate-056
    Scenario: the disk gets full in the middle
      When somebody runs "pytest features/pure_cache/data_path.feature -n 0 --report $TMPDIR/r" where the disk gets full
      Then it exits with 1
      And it says
        """
        the report cannot be written: No space left on device
        """
      And it does not say "Traceback"

  Rule: What the machine need not have makes no difference

    @gate-057
    Scenario Outline: a cluster where <surroundings>
      When somebody runs "python src/cluster_example.py" where <surroundings>
      Then it exits with 0
      And it says
        """
        Wrote 1000 keys and read them back.
        """

      Examples:
        | surroundings                 |
        | 256 files can be open        |

    @gate-058
    Scenario Outline: a run all the same where <surroundings>
      When somebody runs "pytest features/pure_cache/data_path.feature -k cache-029" where <surroundings>
      Then it exits with 0
      And it says
        """
        verdict: accepted (1 scenario of
        """

      Examples:
        | surroundings                       |
        | the home folder is read-only       |
        | folders have spaces in their names |
        | the same runs already              |
