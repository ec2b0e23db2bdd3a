Feature: A run ends with numbers and a verdict
  Who accepts a deployment reads report.json, often with a script and long after the run. A report that is missing
  after a crash, left over from an older run, or green because nothing ran would let a broken deployment through.

  Background:
    Given these sentences
      """
      import os, pytest, signal
      from fixtures.deployments import StackError
      from fixtures.measurements import Bound

      pytest_plugins = ["fixtures.measurements", "fixtures.charts", "fixtures.report"]

      @then(parsers.parse("a read took {seen:g} of at most {limit:g} seconds"))
      def check_read(measure, chart, seen, limit):
          chart("keys per node", unit="keys", kind="bars", points=[("a", 331), ("b", 4)])
          measure("a read", unit="s", seen=seen, bound=Bound.at_most(limit, "s"))

      @given("what this stack cannot do")
      def skip():
          pytest.skip("one node only")

      @given("a stack that broke")
      def break_stack():
          raise StackError("the server did not start")

      @given("somebody who types Ctrl-C")
      def interrupt():
          signal.raise_signal(signal.SIGINT)

      @given("a process that is killed")
      def kill():
          os.kill(os.getpid(), signal.SIGKILL)
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
          Scenario: lacks
            Given what this stack cannot do
          Scenario: stack
            Given a stack that broke
          Scenario: stopped
            Given somebody who types Ctrl-C
          Scenario: dies
            Given a process that is killed
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
        | keeps  | measurement: a read [s] | seen 0.81, bound <= 2.5 |
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
        | ID     | PRACTICE   | FEATURE  | RULE           | LINE | ROW | TAGS | STATUS  | REASON                             | SECONDS        |
        | breaks | pure_cache | A sample | Reads are fast | 6    | {}  |      | failed  | a read: seen 3.1 s, bound <= 2.5 s | within the run |
        | cannot | pure_cache | A sample | Reads are fast | 9    | {}  | core | skipped | one node only                      | within the run |
        | keeps  | pure_cache | A sample | Reads are fast | 4    | {}  | core | passed  | None                               | within the run |
        | stack  | pure_cache | A sample | Reads are fast | 13   | {}  |      | error   | the server did not start           | within the run |
      And "results/report.json" says of the measurements of its scenarios
        | ID     | NAME   | UNIT | BOUND  | SEEN |
        | breaks | a read | s    | <= 2.5 | 3.1  |
        | keeps  | a read | s    | <= 2.5 | 0.81 |
      And "results/report.json" says of the charts of its scenarios
        | ID     | NAME          | UNIT  | KIND | POINTS                 | BOUND |
        | breaks | keys per node | keys  | bars | [['a', 331], ['b', 4]] | None  |
        | keeps  | keys per node | keys  | bars | [['a', 331], ['b', 4]] | None  |
      And "results/report.json" says of the steps of its scenarios
        | ID     | LINE | SECONDS        |
        | breaks | 7    | within the run |
        | cannot | 10   | within the run |
        | keeps  | 5    | within the run |
        | stack  | 14   | within the run |

      Examples:
        | processes            |
        | -n 0 -p xdist.plugin |
        | -n 2 -p xdist.plugin |

  Rule: Nothing but a whole run without a failure is accepted

    Scenario Outline: the verdict of a run
      Given an older "results/report.json" with the verdict "accepted"
      When a user types "pytest --report results -k '<chosen>' <options>"
      Then pytest exits with <code>
      And "results/report.json" has the verdict "<verdict>" and the scenarios: <listed>

      Examples: what each verdict means
        | chosen          | options | code | verdict | listed        |
        | keeps or cannot | -q      | 0    | partial | cannot, keeps |
        | keeps or stack  | -q      | 1    | error   | keeps, stack  |

      Examples: a run that did not come to its end keeps what it has
        | chosen           | options | code | verdict | listed |
        | keeps or stopped | -q      | 2    | error   | keeps  |
        | keeps or dies    | -q      | -9   | error   | none   |

      @slow
      Examples: and the rest
        | chosen            | options              | code | verdict  | listed         |
        | keeps or lacks    | -q                   | 0    | accepted | keeps, lacks   |
        | breaks or cannot  | -q                   | 1    | refused  | breaks, cannot |
        | breaks or stack   | -q                   | 1    | refused  | breaks, stack  |
        | breaks or stopped | -q                   | 2    | refused  | breaks         |
        | lacks             | -q                   | 0    | error    | lacks          |
        | nobody            | -q                   | 5    | error    | none           |
        | keeps or dies     | -p xdist.plugin -n 1 | 1    | error    | dies, keeps    |
        | keeps             | features/missing     | 4    | error    | none           |

    @slow
    Scenario: a process that is lost after its last scenario is no success
      Given these sentences too
        """
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                os.kill(os.getpid(), signal.SIGKILL)
        """
      When a user types "pytest --report results -k keeps -p xdist.plugin -n 1"
      Then "results/report.json" has the verdict "error" and the scenarios: keeps

    Scenario: a feature that cannot be collected is no success
      Given the feature "pure_cache/empty.feature"
        """
        Feature: Nothing in it
        """
      When a user types "pytest --report results -k keeps --continue-on-collection-errors"
      Then pytest exits with 1
      And "results/report.json" has the verdict "error" and the scenarios: keeps

  Rule: A folder that cannot be written stops the run before it begins

    Scenario: a file stands where the results should go
      Given a file named "results"
      When a user types "pytest --report results"
      Then pytest exits with 4
      And pytest says
        """
        ERROR: --report: cannot write (results is no folder); name a folder that can be made
        """
