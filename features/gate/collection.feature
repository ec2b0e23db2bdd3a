Feature: Feature files are tests like any other
  Whoever knows pytest can run, select and report scenarios without learning another tool; continuous
  integration needs no adapter. pytest-bdd leaves this out: it collects no feature file by itself.

  Background:
    Given these sentences
      """
      @given(parsers.parse("a cache of {size:d} keys"), target_fixture="size")
      def cache(size):
          return size

      @then(parsers.parse("{count:d} keys fit"))
      def fit(size, count):
          assert count <= size, f"room for {size} keys only"
      """
    And the feature "pure_cache/size.feature"
      """
      @core
      Feature: Size
        Scenario: "user:1", and others
          Given a cache of 2 keys
          Then 2 keys fit

        @slow
        Rule: Large caches
          Scenario Outline: many keys
            Given a cache of <size> keys
            Then 10 keys fit

            Examples:
              | size |
              | 10   |
              | 500  |
      """
    And the feature "limits.feature"
      """
      Feature: Limits
        Scenario: no keys
          Given a cache of 0 keys
          Then 0 keys fit
      """

  Rule: A selection runs exactly what it names

    Scenario Outline: pytest <arguments>
      When a user types "pytest <arguments>"
      Then pytest exits with 0
      And exactly <scenarios> ran

      Examples:
        | arguments                                                  | scenarios                                                        |
        | features/                                                  | no keys / "user:1", and others / many keys[10] / many keys[500]  |
        | features/limits.feature                                    | no keys                                                          |
        | 'features/pure_cache/size.feature::"user:1", and others'   | "user:1", and others                                             |
        | 'features/pure_cache/size.feature::many keys'              | many keys[10] / many keys[500]                                   |
        | 'features/pure_cache/size.feature::many keys[500]'         | many keys[500]                                                   |
        | -m 'pure_cache and core and not slow'                      | "user:1", and others                                             |
        | -k 'keys and not 500' --deselect 'features/limits.feature' | many keys[10]                                                    |
        | -n 2                                                       | no keys / "user:1", and others / many keys[10] / many keys[500]  |

    Scenario: collecting without running
      When a user types "pytest --collect-only -q"
      Then pytest exits with 0
      And pytest says
        """
        features/limits.feature::no keys
        features/pure_cache/size.feature::"user:1", and others
        features/pure_cache/size.feature::many keys[10]
        features/pure_cache/size.feature::many keys[500]
        """

  Rule: A failure speaks to those who did not write the steps

    Background:
      Given the feature "limits.feature"
        """
        Feature: Limits
          Scenario: too many
            Given a cache of 2 keys
            Then 3 keys fit
            And 4 keys fit
        """

    Scenario: the sentence that failed, its line, and the assertion's own words
      When a user types "pytest -n 2 --junitxml junit.xml"
      Then pytest exits with 1
      And pytest says
        """
        E   AssertionError: room for 2 keys only
        features/limits.feature:2: Scenario: too many
        Given a cache of 2 keys
        > Then 3 keys fit    <- features/limits.feature:4
        And 4 keys fit
        """
      And "junit.xml" holds these tests
        | CLASSNAME                        | NAME                 | MESSAGE                                               |
        | features.limits.feature          | too many             | Then 3 keys fit: AssertionError: room for 2 keys only |
        | features.pure_cache.size.feature | "user:1", and others |                                                       |
        | features.pure_cache.size.feature | many keys[10]        |                                                       |
        | features.pure_cache.size.feature | many keys[500]       |                                                       |

    Scenario: only what failed runs again
      Given a user typed "pytest"
      When a user types "pytest --last-failed"
      Then pytest exits with 1
      And exactly too many ran
