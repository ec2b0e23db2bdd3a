Feature: Options and URLs select the scenarios of a run
  A suite that takes long is not run, and a quick selection that leaves out the core proves nothing. Operators need the
  same selection each time, and the same random cases again from the seed of a failure.

  Background:
    Given these addresses
      | NAME  | DEPLOYMENT     |
      | CACHE | a cache        |
      | NODE  | a cluster node |

  Rule: Twelve processes share the scenarios by default, in any order

    @gate-048 @slow
    Scenario: two processes run the scenarios in random order
      The plugin shuffles by the seed of Hypothesis, which the header shows.

      When I run "pytest -p benchmarks.lib.shuffled features/pure_cache/audit.feature --processes 2"
      Then the command exits with 0

    @gate-049 @slow
    Scenario Outline: pytest <ARGUMENTS> starts <PROCESSES> processes
      When I run "pytest <ARGUMENTS>"
      Then the command exits with 0
      And the output contains
        """
        processes: <PROCESSES>
        """

      Examples:
        | ARGUMENTS                                       | PROCESSES |
        | features/pure_cache/audit.feature               | 12        |
        | features/pure_cache/audit.feature --processes 2 | 2         |

  Rule: Slow scenarios run only on request, and scenarios that wait begin first

    @gate-050 @slow
    Scenario: a run without options begins with scenarios that wait, and leaves slow ones out
      When I run "pytest features/gate/verdict.feature features/pure_cache/expiry.feature --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        expiry.feature::a username cached for 10 seconds
        verdict.feature::
        deselected
        """
      And the output does not contain "a run that selects no scenario"

    @gate-051 @slow
    Scenario: a run with --quick leaves out scenarios that wait, and those about the gate
      When I run "pytest features/gate features/pure_cache --quick --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        features/pure_cache/audit.feature::
        features/pure_cache/data_path.feature::
        deselected
        """
      And the output does not contain "a username cached"
      And the output does not contain "features/gate/"

    @gate-052 @slow
    Scenario Outline: pytest <ARGUMENTS> selects a slow scenario
      When I run "pytest <ARGUMENTS> --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        verdict.feature::the verdict is error for a run that selects no scenario
        """

      Examples:
        | ARGUMENTS                                                                                |
        | features/gate/verdict.feature -m slow                                                    |
        | 'features/gate/verdict.feature::the verdict is error for a run that selects no scenario' |

  Rule: A practice (a folder of features) without a URL is left out, and is never required

    @gate-043 @slow
    Scenario Outline: a run of <PART> without a URL ends with exit code <CODE>
      When I run "pytest <ARGUMENTS> --processes 0 -rs --cache-url redis://$CACHE"
      Then the command exits with <CODE>
      And the output contains
        """
        <REASON>
        verdict: <VERDICT>
        """

      Examples:
        | PART                   | ARGUMENTS                                                                                                               | CODE | REASON                                                       | VERDICT                |
        | features of a practice | features/pure_cache/audit.feature features/celery_worker/processing.feature -k 'cache-007 or celery-082' --require core | 0    | features/celery_worker is left out: no --broker-url is given | partial (1 scenario of |

      Examples: more
        | PART                | ARGUMENTS                                                            | CODE | REASON                              | VERDICT               |
        | scenarios of tuning | features/tuning/cluster.feature -m 'not disruptive' --require tuning | 0    | external: no --cluster-url is given | error (0 scenarios of |

  Rule: A core scenario that needs more rights than the run has is skipped, or fails if it is required

    @gate-044
    Scenario Outline: a run of disruptive core scenarios with the options "<OPTIONS>" ends with exit code <CODE>
      When I run "pytest features/redis_cluster/failover.feature -m core --processes 0 -rs --cluster-url redis://$NODE <OPTIONS>"
      Then the command exits with <CODE>
      And the output contains
        """
        <REASON>
        verdict: <VERDICT>
        """

      Examples:
        | OPTIONS        | CODE | REASON                                                                                    | VERDICT                 |
        | --require core | 1    | required (--require core), but external: it is disrupted only with --allow-disruption, by | refused (3 scenarios of |

      @slow
      Examples: more
        | OPTIONS | CODE | REASON                                                 | VERDICT               |
        |         | 0    | external: it is disrupted only with --allow-disruption | error (3 scenarios of |
