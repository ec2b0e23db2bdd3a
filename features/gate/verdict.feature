Feature: A run ends with a verdict and an exit code
  A report that is missing after a crash, left over from an older run, or green because nothing ran would let a broken
  deployment through. A script that reads the exit code and a script that reads report.json come to the same end.

  Background:
    Given these addresses
      | NAME    | OF                           |
      | CACHE   | a cache                      |
      | BROKER  | a broker without a worker    |
      | NOTHING | a port where nothing listens |

  Rule: Nothing but a whole run without a failure is accepted

    @gate-063
    Scenario Outline: <verdict>: <run>
      When somebody runs "mkdir $TMPDIR/r && echo older >$TMPDIR/r/report.json; pytest features/pure_cache/audit.feature features/celery_worker/processing.feature -n 0 --report $TMPDIR/r <options>; code=$?; grep '^ .verdict' $TMPDIR/r/report.json; exit $code"
      Then it exits with <code>
      And it says
        """
        "verdict": "<verdict>"
        """

      Examples: what holds, what is a part and what does not hold
        | verdict  | run                                 | options                                 | code |
        | accepted | servers of its own                  | -k cache-007                              | 0    |
        | partial  | one scenario of all about a cache   | -k cache-007 --cache-url redis://$CACHE   | 0    |
        | refused  | a cache that evicts nothing         | -k cache-007 --cache-url redis://$BROKER  | 1    |
        | error    | nothing answers                     | -k cache-007 --cache-url redis://$NOTHING | 4    |

      @slow
      Examples: what did not begin
        | verdict | run                           | options                           | code |
        | error   | an option that does not exist | --bogus                           | 4    |
        | error   | a role that it does not have  | -k celery-082 --cache-url redis://$CACHE | 5    |

    @gate-064
    Scenario: a part is no verdict on the whole
      When somebody runs "pytest features/pure_cache -n 0 -k cache-007 --cache-url redis://$CACHE --report $TMPDIR/r; cat $TMPDIR/r/badge.svg"
      Then it exits with 0
      And it says
        """
        verdict: partial (1 scenario of
        redis-practices: partial: 1 scenario of
        """

    @gate-065 @slow
    Scenario Outline: a <role> alone is accepted, with all that is core
      When somebody runs "pytest features/ --quick --require core --<role>-url redis://<address>"
      Then it exits with 0
      And it says
        """
        verdict: accepted (
        """

      Examples:
        | role   | address |
        | cache  | $CACHE  |
        | broker | $BROKER |

    @gate-066 @slow
    Scenario: a run that selects nothing
      When somebody runs "pytest features/pure_cache/audit.feature -n 0 -k nothing"
      Then it exits with 5
      And it says
        """
        verdict: error (0 scenarios; no scenario ran)
        """

    @gate-067 @waits
    Scenario Outline: a run that gets <end>
      Given somebody started "exec pytest features/pure_cache/username.feature -n 0"
      And 1 of its servers and workers run
      When it gets <end>
      Then it ends
      And it exits with 2
      And it says
        """
        verdict: error (0 scenarios; <trouble>)
        """

      Examples:
        | end     | trouble            |
        | Ctrl-C  | interrupted        |
        | SIGTERM | stopped by SIGTERM |
