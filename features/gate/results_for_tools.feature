Feature: Other tools read the results of a run
  Few people open a results folder; their CI, their dashboards and their review tools do it for them. A file that is
  nearly in a standard form is read wrongly or not at all, and a failure that is marked at no line is searched for.

  Background:
    Given these sentences
      """
      import pytest
      from fixtures.reporting.measurements import Bound

      pytest_plugins = ["fixtures.reporting.measurements", "fixtures.reporting.plugin"]

      @given(parsers.parse("a cache of {size:d} keys"), target_fixture="size")
      def cache(size, measure):
          measure("room", unit="keys", seen=size, bound=Bound.at_least(1))
          return size

      @given("these keys")
      def keys(datatable):
          pass

      @then(parsers.parse("{count:d} keys fit"))
      def fit(size, count):
          assert count <= size, f"room for {size} keys: 100% full\n::set-output name=a::b"

      @then("one replica has it too")
      def skip():
          pytest.skip("one node only | no replica")
      """
    And the feature "pure_cache/size.feature"
      """
      @core
      Feature: Size, of caches
        Background:
          Given these keys
            | KEY |
            | a   |

        Rule: Keys fit
          Scenario Outline: a cache of <size>: filled
            Given a cache of <size> keys
            Then 10 keys fit
            And one replica has it too

            Examples:
              | size |
              | 5    |
              | 50   |
      """
    And the feature "pure_cache/last.feature"
      """
      Feature: Last
        Scenario: a small cache
          Given a cache of 1 keys
          Then 1 keys fit
      """

  Rule: Cucumber's tools read it as the messages of a run

    @slow @browser
    Scenario: messages.ndjson follows the published schema
      Given a user typed "pytest --report results"
      Then every line of "results/messages.ndjson" is a valid Cucumber message
      And its messages are
        | MESSAGE          | TIMES |
        | meta             | 1     |
        | source           | 2     |
        | gherkinDocument  | 2     |
        | pickle           | 3     |
        | testRunStarted   | 1     |
        | testCase         | 3     |
        | testCaseStarted  | 3     |
        | testStepStarted  | 10    |
        | testStepFinished | 10    |
        | attachment       | 3     |
        | testCaseFinished | 3     |
        | testRunFinished  | 1     |

    Scenario: messages.ndjson says how each step ended
      Given a user typed "pytest --report results -n 2 -p xdist.plugin"
      Then "results/messages.ndjson" tells these cases, each id once
        | CASE                | STEPS                           | MESSAGE                    |
        | a cache of 50: filled | PASSED, PASSED, PASSED, SKIPPED | one node only \| no replica  |
        | a cache of 5: filled  | PASSED, PASSED, FAILED, SKIPPED | room for 5 keys: 100% full |
        | a small cache       | PASSED, PASSED                  |                            |

  Rule: CI shows features and scenarios by their names

    @slow
    Scenario: junit.xml names feature and rule
      Given a user typed "pytest --report results -k 'a and 5 and not 50 or small'"
      Then "results/junit.xml" holds these tests
        | CLASSNAME                        | NAME                        | MESSAGE                                                       |
        | features.pure_cache.size.feature | a cache of <size>: filled[5] | Then 10 keys fit: AssertionError: room for 5 keys: 100% full  |
        | features.pure_cache.last.feature | a small cache               |                                                               |
      And "results/junit.xml" holds these properties
        | NAME                         | PROPERTY                   | VALUE             |
        | a small cache                | feature                    | Last              |
        | a small cache                | measurement: room [keys]   | seen 1, bound >= 1 |
        | a cache of <size>: filled[5] | feature                    | Size, of caches   |
        | a cache of <size>: filled[5] | rule                       | Keys fit          |
        | a cache of <size>: filled[5] | measurement: room [keys]   | seen 5, bound >= 1 |

    Scenario: GitHub is told the line of the feature file, and nothing a message says is a command
      Given a job of GitHub
      When a user types "pytest -n 2 -p xdist.plugin"
      Then pytest says
        """
        ::error file=features/pure_cache/size.feature,line=11,title=a cache of <size>%3A filled[5]::room for 5 keys: 100%25 full%0A  ::set-output name=a::b%0Aassert 10 <= 5
        """
      And no line that pytest says begins with "::set-output"

    Scenario: the job's summary and the badge
      Given a job of GitHub
      When a user types "pytest --report results"
      Then "results/summary.md" reads, but for the time it took
        """
        ## ❌ redis-practices: refused

        1 passed, 1 failed, 1 skipped in … s on embedded (no engine asked)

        ### What failed

        | scenario | because |
        |---|---|
        | features/pure\_cache/size.feature::a cache of &lt;size&gt;: filled\[5\] | room for 5 keys: 100% full |

        ### What was skipped

        - 1 times: one node only \| no replica
        """
      And "results/badge.svg" is a picture that says "redis-practices: refused"
      And the summary of the job is that of "results"
