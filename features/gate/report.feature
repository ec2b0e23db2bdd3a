Feature: A run ends with numbers
  Who accepts a deployment reads report.json, often with a script and long after the run. A tick says that a claim held
  on that day; the number beside its bound says how far it is from breaking.

  Background:
    Given these sentences
      """
      import time
      import pytest
      from fixtures.run.keys import StackError
      from fixtures.reporting.measurements import Bound

      pytest_plugins = ["fixtures.reporting.measurements", "fixtures.reporting.plugin"]

      @then(parsers.parse("a read took {seen:g} of at most {limit:g} seconds"))
      def check_read(measure, chart, seen, limit):
          time.sleep(0.01)
          chart("keys per node", unit="keys", kind="bars", points=[("a", 331), ("b", 4)])
          measure("a read", unit="s", seen=seen, bound=Bound.at_most(limit, "s"))

      @given("what this stack cannot do")
      def skip():
          time.sleep(0.01)
          pytest.skip("one node only")

      @given("a stack that broke")
      def break_stack():
          time.sleep(0.01)
          raise StackError("the server did not start")

      """
    And the feature "pure_cache/sample.feature"
      """
      Feature: A sample
        Rule: Reads are fast
          @core
          Scenario: keeps
            Then a read took 0.81 of at most 2.5 seconds
          Scenario: breaks
            Then a read took 3.1 of at most 2.5 seconds
          @core
          Scenario: cannot
            Given what this stack cannot do
          Scenario: stack
            Given a stack that broke
      """

  Rule: A claim with a bound says what was allowed and what was seen

    Scenario: a value beyond its bound is a failure that names both
      When a user types "pytest --report results -k 'keeps or breaks'"
      Then pytest exits with 1
      And pytest says
        """
        E   AssertionError: a read: seen 3.1 s, bound <= 2.5 s
        verdict: refused (2 scenarios, 1 failed) — results/report.json
        """
      And "results/junit.xml" holds these properties
        | NAME   | PROPERTY                | VALUE                   |
        | keeps  | feature                 | A sample                |
        | keeps  | rule                    | Reads are fast          |
        | keeps  | measurement: a read [s] | seen 0.81, bound <= 2.5 |
        | breaks | feature                 | A sample                |
        | breaks | rule                    | Reads are fast          |
        | breaks | measurement: a read [s] | seen 3.1, bound <= 2.5  |

    Scenario: a run that passes lists what it measured when asked with -v
      When a user types "pytest -v --report results -k keeps"
      Then pytest exits with 0
      And pytest says
        """
        features/pure_cache/sample.feature::keeps
        a read: seen 0.81 s, bound <= 2.5 s
        verdict: accepted (1 scenario) — results/report.json
        """

    Scenario Outline: the words of a bound
      Then "<words>" means "<bound>", which allows <allowed> and refuses <refused>

      Examples:
        | words                   | bound  | allowed | refused  |
        | exactly 3               | == 3   | 3, 3    | 2.9, 4   |
        | at least 95 %           | >= 95  | 95, 100 | 0, 94.9  |
        | at most 20              | <= 20  | 0, 20   | 20.1, 90 |
        | within 300 milliseconds | <= 0.3 | 0, 0.3  | 0.31, 1  |
        | between 3 and 5         | 3 to 5 | 3, 5    | 2.9, 5.1 |

  Rule: Waiting ends in time, and says what was seen last

    Scenario Outline: waiting for something that becomes true after <after> seconds
      When it is waited for within 1 second
        | TRUE AFTER | TAKES   |
        | <after>    | <takes> |
      Then the waiting ends with "<end>"

      Examples:
        | after | takes | end                             |
        | 0.1   | 0     | it is true                      |
        | 9     | 0     | not within 1 s … : not yet true |
        | 0     | 1.1   | it held only after 1.           |

  Rule: report.json tells of every scenario what it was, how it ended and what was measured

    Scenario Outline: the whole report with <processes>
      When a user types "pytest --report results -k 'keeps or breaks or cannot or stack' <processes>"
      Then "results/report.json" says of the run
        | SUITE          | STARTED        | SECONDS        | STACK    | ENGINES | VERDICT | TROUBLES                                                                  |
        | this project's | during the run | within the run | embedded | {}      | refused | ['features/pure_cache/sample.feature::stack: the server did not start'] |
      And "results/report.json" says of its scenarios
        | ID     | PRACTICE   | FEATURE  | RULE           | LINE | ROW | TAGS | STATUS  | REASON                             | STARTED        | SECONDS        |
        | breaks | pure_cache | A sample | Reads are fast | 6    | {}  |      | failed  | a read: seen 3.1 s, bound <= 2.5 s | during the run | within the run |
        | cannot | pure_cache | A sample | Reads are fast | 9    | {}  | core | skipped | one node only                      | during the run | within the run |
        | keeps  | pure_cache | A sample | Reads are fast | 4    | {}  | core | passed  | None                               | during the run | within the run |
        | stack  | pure_cache | A sample | Reads are fast | 11   | {}  |      | error   | the server did not start           | during the run | within the run |
      And "results/report.json" says of the measurements of its scenarios
        | ID     | NAME   | UNIT | BOUND  | LOW  | HIGH | SEEN |
        | breaks | a read | s    | <= 2.5 | None | 2.5  | 3.1  |
        | keeps  | a read | s    | <= 2.5 | None | 2.5  | 0.81 |
      And "results/report.json" says of the charts of its scenarios
        | ID     | NAME          | UNIT  | KIND | POINTS                 | BOUND | LOW  | HIGH |
        | breaks | keys per node | keys  | bars | [['a', 331], ['b', 4]] | None  | None | None |
        | keeps  | keys per node | keys  | bars | [['a', 331], ['b', 4]] | None  | None | None |
      And "results/report.json" says of the steps of its scenarios
        | ID     | LINE | SECONDS        |
        | breaks | 7    | within the run |
        | cannot | 10   | within the run |
        | keeps  | 5    | within the run |
        | stack  | 12   | within the run |

      Examples:
        | processes            |
        | -n 0 -p xdist.plugin |
        | -n 2 -p xdist.plugin |
