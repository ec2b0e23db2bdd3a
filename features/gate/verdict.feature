Feature: A run of the gate ends with a verdict and an exit code
  A build pipeline reads the exit code or `report.json`, and must come to the same end by both. A report that is missing
  after a crash, left from an older run, or green because no scenario ran lets a broken deployment through.

  Background:
    Given these addresses
      | NAME    | DEPLOYMENT                   |
      | CACHE   | a cache                      |
      | BROKER  | a broker without a worker    |
      | NOTHING | a port where nothing listens |

  Rule: A deployment is "accepted" only by a complete run without a failure

    @gate-063
    Scenario Outline: the verdict is <VERDICT> for <RUN>
      When I run "mkdir $TMPDIR/r && echo older >$TMPDIR/r/report.json; pytest features/pure_cache/audit.feature features/celery_worker/processing.feature --processes 0 --report $TMPDIR/r <OPTIONS>; code=$?; grep '^ .verdict' $TMPDIR/r/report.json; exit $code"
      Then the command exits with <CODE>
      And the output contains
        """
        "verdict": "<VERDICT>"
        """

      Examples: a failure
        | VERDICT | RUN                         | OPTIONS                                  | CODE |
        | refused | a cache that evicts nothing | -k cache-007 --cache-url redis://$BROKER | 1    |

      @slow
      Examples: whole runs, a part, and an error
        | VERDICT  | RUN                                    | OPTIONS                                   | CODE |
        | accepted | all asked scenarios on its own servers | -k cache-007                              | 0    |
        | partial  | one of all scenarios about a cache     | -k cache-007 --cache-url redis://$CACHE   | 0    |
        | error    | an address where nothing listens       | -k cache-007 --cache-url redis://$NOTHING | 4    |

      @slow
      Examples: runs that did not start
        | VERDICT | RUN                                         | OPTIONS                                  | CODE |
        | error   | an unknown option                           | --bogus                                  | 4    |
        | error   | a scenario about a role that has no address | -k celery-082 --cache-url redis://$CACHE | 5    |

    @gate-064 @slow
    Scenario: output and badge of a partial run name the number of its scenarios
      When I run "pytest features/pure_cache --processes 0 -k cache-007 --cache-url redis://$CACHE --report $TMPDIR/r; cat $TMPDIR/r/badge.svg"
      Then the command exits with 0
      And the output contains
        """
        verdict: partial (1 scenario of
        redis-practices: partial: 1 scenario of
        """

    @gate-065 @slow
    Scenario Outline: a healthy <ROLE> alone is accepted with --require core
      When I run "pytest features/ --quick --require core --<ROLE>-url redis://<ADDRESS>"
      Then the command exits with 0
      And the output contains
        """
        verdict: accepted (
        """

      Examples:
        | ROLE   | ADDRESS |
        | cache  | $CACHE  |
        | broker | $BROKER |

    @gate-066 @slow
    Scenario: the verdict is error for a run that selects no scenario
      When I run "pytest features/pure_cache/audit.feature --processes 0 -k nothing"
      Then the command exits with 5
      And the output contains
        """
        verdict: error (0 scenarios; no scenario ran)
        """

    @gate-067 @slow @waits
    Scenario Outline: the verdict is error for a run that <SIGNAL> ends
      Given "exec pytest features/pure_cache/expiry.feature -k cache-087 --processes 0" is running
        | OPTION  | VALUE |
        | servers | 1     |
      When the command gets <SIGNAL>
      Then the command exits with 2
      And the output contains
        """
        verdict: error (0 scenarios; <TROUBLE>)
        """

      Examples:
        | SIGNAL | TROUBLE     |
        | Ctrl-C | interrupted |

      Examples: more
        | SIGNAL  | TROUBLE            |
        | SIGTERM | stopped by SIGTERM |
