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

    Scenario Outline: <verdict>: <run>
      When somebody runs "mkdir $TMPDIR/r && echo older >$TMPDIR/r/report.json; pytest features/pure_cache/audit.feature features/celery_worker/processing.feature -n 0 --report $TMPDIR/r <options>; code=$?; grep '^ .verdict' $TMPDIR/r/report.json; exit $code"
      Then it exits with <code>
      And it says
        """
        "verdict": "<verdict>"
        """

      Examples: what holds, what was left out and what does not hold
        | verdict  | run                                    | options                                        | code |
        | accepted | a cache that evicts any entry          | -k evicted --cache-url redis://$CACHE          | 0    |
        | partial  | a core scenario without its deployment | -k 'evicted or sum' --cache-url redis://$CACHE | 0    |
        | refused  | a cache that evicts nothing            | -k evicted --cache-url redis://$BROKER         | 1    |
        | error    | nothing answers                        | -k evicted --cache-url redis://$NOTHING        | 4    |

      @slow
      Examples: what did not begin, and what is required
        | verdict | run                              | options                                          | code |
        | error   | an option that does not exist    | --bogus                                          | 4    |
        | error   | every scenario is skipped        | -k sum --cache-url redis://$CACHE                | 0    |
        | refused | a core scenario that is required | -k sum --require core --cache-url redis://$CACHE | 1    |

    @slow
    Scenario: a run that selects nothing
      When somebody runs "pytest features/pure_cache/audit.feature -n 0 -k nothing"
      Then it exits with 5
      And it says
        """
        verdict: error (0 scenarios; no scenario ran)
        """

    @waits
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
