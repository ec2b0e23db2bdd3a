Feature: A run is compared with an earlier one
  What gets a little slower with every change is noticed by nobody until it is slow. But two runs always differ: a
  comparison that cries at noise is switched off within a week.

  Background:
    Given these sentences
      """
      import pytest
      from fixtures.reporting.measurements import Bound

      pytest_plugins = ["fixtures.reporting.measurements", "fixtures.reporting.plugin"]

      @given(parsers.parse("room for {size:d} keys"), target_fixture="size")
      def room(size, measure):
          measure("room", unit="keys", seen=size, bound=Bound.at_least(1))
          return size

      @then(parsers.parse("{count:d} keys fit"))
      def fit(size, count):
          assert count <= size, f"room for {size} keys"
      """
    And the feature "pure_cache/size.feature"
      """
      Feature: Size
        Scenario: breaks
          Given room for 5 keys
          Then 10 keys fit
        Scenario: recovers
          Given room for 50 keys
          Then 10 keys fit
        Scenario: shrinks
          Given room for 1 keys
          Then 1 keys fit
        Scenario: stays
          Given room for 30 keys
          Then 1 keys fit
      """

  Rule: A run says what is different from an earlier one

    Scenario: one that broke, one that holds again, and a number nearer to its bound
      Given a user typed "pytest --report results"
      And in "results/report.json" the run was different
        | SCENARIO | STATUS | SECONDS | SEEN |
        | breaks   | passed | 0.01    | 5    |
        | recovers | failed | 0.01    | 50   |
        | shrinks  | passed | 0.01    | 9    |
        | stays    | passed | 0.01    | 900  |
      When a user types "pytest --report later --baseline results/report.json"
      Then pytest says
        """
        since
        broke: features/pure_cache/size.feature::breaks (was passed, is failed: room for 5 keys)
        fixed: features/pure_cache/size.feature::recovers (was failed, is passed)
        worse: features/pure_cache/size.feature::shrinks (room: was 9 keys, is 1 keys, bound >= 1 keys)
        verdict: refused
        """
      And no line that pytest says begins with "worse: features/pure_cache/size.feature::stays"
      And "later/index.html" shows
        """
        Since
        broke
        features/pure_cache/size.feature::breaks
        worse
        features/pure_cache/size.feature::shrinks
        room: was 9 keys, is 1 keys, bound >= 1 keys
        """
      And "later/summary.md" holds "| worse | features/pure\_cache/size.feature::shrinks |"

    @slow
    Scenario: the same run again
      Given a user typed "pytest --report results"
      When a user types "pytest --baseline results/report.json"
      Then pytest says
        """
        : nothing
        verdict: refused
        """

    Scenario Outline: whether a run of 12 scenarios at <pace> times the time, one of them at <its pace>, is told as slower
      Then of 12 scenarios at <pace> times the time, with a noise of <noise> %, one at <its pace> times is told: <told>

      Examples:
        | pace | noise | its pace | told |
        | 1    | 5     | 1.4      | no   |
        | 1    | 5     | 1.8      | yes  |
        | 3    | 5     | 3.5      | no   |
        | 3    | 5     | 6        | yes  |
        | 1    | 40    | 1.8      | no   |
        | 1    | 40    | 20       | yes  |
        | 0.5  | 5     | 1        | yes  |

    Scenario Outline: a baseline that is none: <holding>
      Given the text "<holding>" in a file "old.json"
      When a user types "pytest --baseline <named>"
      Then pytest exits with 4
      And pytest says
        """
        ERROR: --baseline: cannot use <named> (<why>); name the report.json of an earlier run
        """

      Examples:
        | named    | holding             | why                              |
        | none     | another file        | No such file or directory        |
        | old.json | in the way          | it is not as this suite writes it |

      @slow
      Examples: and the rest
        | named    | holding             | why                               |
        | old.json | [1]                 | it is not as this suite writes it |
        | old.json | {"scenarios": [{}]} | it is not as this suite writes it |
        | old.json | {"scenarios": []}   | it holds no scenario             |
