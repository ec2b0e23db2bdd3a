Feature: A run without options is the whole suite but for slow scenarios, spread over processes
  A suite that takes long is not run, and a quick selection that leaves out the core proves nothing. Operators need the
  same selection each time, and the same random cases again from the seed of a failure.

  Rule: Six processes share the scenarios, and draw the same random cases

    @gate-048
    Scenario: two processes shuffle the scenarios alike, from the seed that the header names
      When I run "pytest -p benchmarks.lib.shuffled features/pure_cache/audit.feature -n 2"
      Then the command exits with 0

    @gate-049 @slow
    Scenario Outline: pytest <ARGUMENTS> starts <PROCESSES>
      When I run "pytest <ARGUMENTS>"
      Then the command exits with 0
      And the output contains
        """
        created: <PROCESSES>
        """

      Examples:
        | ARGUMENTS                              | PROCESSES   |
        | features/pure_cache/audit.feature      | 6/6 workers |
        | features/pure_cache/audit.feature -n 2 | 2/2 workers |

  Rule: Slow scenarios run when they are asked for, and scenarios that wait begin first

    @gate-050
    Scenario: a run without options begins with scenarios that wait, and leaves slow ones out
      When I run "pytest features/gate/verdict.feature features/pure_cache/username.feature --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        username.feature::
        verdict.feature::
        deselected
        """
      And the output does not contain "a run that selects nothing"

    @gate-051
    Scenario: a run with --quick leaves out scenarios that wait, and those about the gate
      When I run "pytest features/gate features/pure_cache --quick --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        features/pure_cache/audit.feature::
        features/pure_cache/data_path.feature::
        deselected
        """
      And the output does not contain "username.feature"
      And the output does not contain "features/gate/"

    @gate-052 @slow
    Scenario Outline: pytest <ARGUMENTS> runs a slow scenario
      When I run "pytest <ARGUMENTS> --collect-only -q"
      Then the command exits with 0
      And the output contains
        """
        verdict.feature::a run that selects nothing
        """

      Examples:
        | ARGUMENTS                                                   |
        | features/gate/verdict.feature -m slow                       |
        | 'features/gate/verdict.feature::a run that selects nothing' |
