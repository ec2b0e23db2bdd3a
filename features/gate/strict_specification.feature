Feature: A specification cannot be green by accident
  Gherkin and pytest-bdd forgive much: of two scenarios with one name the first is dropped, a mistyped
  keyword turns a step into prose, an async step passes without having run. Each of these shows a green
  tick for something nobody checked, and a deployment would be accepted on its strength. So such a file
  is refused before anything runs, with the line and what to do about it.

  Every trap below is one changed line in the same small feature, which passes as it stands.

  Background:
    Given these sentences
      """
      @given("a cache", target_fixture="cache")
      def cache():
          return []

      @given(parsers.parse("a cache of {size}"), target_fixture="cache")
      def sized_cache(size):
          return []

      @when(parsers.parse("{count:d} keys are written"))
      def write(cache, count):
          cache.extend(range(count))

      @then(parsers.parse("{count:d} keys are there"))
      def check(cache, count):
          assert len(cache) == count
      """
    And the feature "pure_cache/keys.feature"
      """
      Feature: Keys
        Rule: A key can be read
          Scenario: one key
            Given a cache
            When 1 keys are written
            Then 1 keys are there

        Rule: Many keys can be read
          @core
          Scenario Outline: many keys
            Given a cache of <size>
            When <count> keys are written
            Then <count> keys are there

            Examples:
              | count | size |
              | 10    | 1 MB |
              | 50    | 2 MB |
      """

  Rule: A sound feature passes

    Scenario: the feature as it stands
      When a user types "pytest features/"
      Then pytest exits with 0
      And pytest says
        """
        features/pure_cache/keys.feature ...
        """

  Rule: Every scenario that is written runs

    Scenario: what would vanish or pass empty
      When each of these lines is changed in a copy of "pure_cache/keys.feature"
        | LINE                        | CHANGED TO                                    | REFUSED AT | BECAUSE                                                 |
        | Scenario Outline: many keys | Scenario Outline: one key                     | 10         | "one key" is the name of the scenario in line 3 too     |
        | Scenario: one key           | Scenario: no keys\n\nScenario: one key        | 3          | "no keys" has no steps and would pass                   |
        | Scenario: one key           | Scenario:                                     | 3          | a scenario without a name                               |
        | Scenario: one key           | Scenario: one key [a]                         | 3          | no command line can select "one key [a]"                |
        | Scenario: one key           | Scenario one key                              | 3          | "Scenario one key" is read as description               |
        | Scenario: one key           | Nothing announces a scenario.                 | 5          | "When 1 keys are written" is read as description        |
        | Given a cache               | Given: a cache                                | 4          | "Given: a cache" is read as description                 |
        | Given a cache               | given a cache                                 | 4          | "given a cache" is read as description                  |
        | Then 1 keys are there       | Then: 1 keys are there                        | 6          | no such line may stand here: 'Then: 1 keys are there'   |
        | Rule: A key can be read     | Rule: Unproven\n\nRule: A key can be read     | 2          | no scenario proves the rule "Unproven"                  |
        | Rule: A key can be read     | Background:\n\nRule: A key can be read        | 2          | a background without steps                              |
        | Feature: Keys               | # Feature: Keys                               | 2          | no such line may stand here: 'Rule: A key can be read'  |
      And a user types "pytest --collect-only"
      Then each copy is refused at its line for its reason
      And "pure_cache/keys.feature" itself is not

    Scenario: a file that holds nothing, or nothing these checks can read
      Given the feature "empty.feature"
        """
        # To be written.
        """
      And the feature "later.feature"
        """
        Feature: Later
        """
      And the feature "german.feature"
        """
        # language: de
        Funktionalität: Schlüssel
          Szenario: ein Schlüssel
            Angenommen a cache
        """
      When a user types "pytest features/"
      Then pytest exits with 4
      And pytest says
        """
        features/empty.feature:1: no "Feature:" in this file; write one or delete the file
        features/german.feature:1: these checks read English Gherkin alone; write it without a language line
        features/later.feature:1: a feature without scenarios proves nothing; write one or delete the file
        """

  Rule: Every step does what its sentence says

    Scenario: what would not run, or run something else
      Given these sentences too
        """
        @given("two caches")
        @given("two caches")
        def two_caches(): ...

        @given(parsers.parse("three {things}"))
        def three(things): ...

        @given("three caches")
        def three_caches(): ...

        @when("it waits")
        async def wait(): ...

        @when("it waits and cleans up")
        async def wait_and_clean():
            yield

        @when(parsers.parse("{count:d} keys are lost"))
        def lose(): ...

        @then("these keys are there")
        def check_table(datatable): ...
        """
      When each of these lines is changed in a copy of "pure_cache/keys.feature"
        | LINE                    | CHANGED TO                                 | REFUSED AT | BECAUSE                                                |
        | Then 1 keys are there   | Then one key is there                      | 6          | no definition for "then one key is there"              |
        | Then 1 keys are there   | And 1 keys are there                       | 6          | no definition for "when 1 keys are there"; there is    |
        | Rule: A key can be read | Background:\n  Given a shop\nRule: A rule  | 3          | no definition for "given a shop"                       |
        | \| 50    \| 2 MB \|     | \| ten \| 2 MB \|                          | 12         | no definition for "when ten keys are written"          |
        | Given a cache           | And a cache                                | 4          | must start with 'Given', 'When' or 'Then'              |
        | Given a cache           | Given two caches                           | 4          | "two caches" fits @given("two caches")                 |
        | Given a cache           | Given three caches                         | 4          | and @given("three caches") at conftest.py:             |
        | When 1 keys are written | When it waits                              | 5          | is async and never awaited                             |
        | When 1 keys are written | When it waits and cleans up                | 5          | is async and never awaited                             |
        | When 1 keys are written | When 1 keys are lost                       | 5          | ignores {count} of its sentence                        |
        | When 1 keys are written | When 1 keys are written\n\| KEY \|         | 5          | ignores the datatable under the step                   |
        | When 1 keys are written | When 1 keys are written\n```\na key\n```   | 5          | ignores the docstring under the step                   |
        | Then 1 keys are there   | Then these keys are there                  | 6          | needs a datatable                                      |
      And a user types "pytest --collect-only"
      Then each copy is refused at its line for its reason
      And "pure_cache/keys.feature" itself is not

    Scenario Outline: a sentence that no feature uses, at <command>
      Given these sentences too
        """
        @then("the cache is warm")
        def warm(): ...
        """
      When a user types "<command>"
      Then pytest exits with <code>
      And the refusal of "the cache is warm" is shown <times> times

      Examples: asked for all features, whatever is selected of them
        | command       | code | times |
        | pytest -k one | 4    | 1     |
        | pytest -n 2 . | 4    | 1     |

      Examples: asked for less
        | command                    | code | times |
        | pytest features/pure_cache | 0    | 0     |

  Rule: Every example changes something

    Scenario: placeholders, columns and rows without effect
      When each of these lines is changed in a copy of "pure_cache/keys.feature"
        | LINE                          | CHANGED TO                                               | REFUSED AT | BECAUSE                                            |
        | When <count> keys are written | When <cuont> keys are written                            | 12         | the examples in line 15 have no column for <cuont> |
        | When 1 keys are written       | When <count> keys are written                            | 5          | nothing fills <count>                              |
        | Given a cache of <size>       | Given a cache of 1 MB                                    | 16         | no step uses the column "size"                     |
        | \| 50    \| 2 MB \|           | \| 10    \| 1 MB \|                                      | 18         | the row in line 17 has these values too            |
        | \| 50    \| 2 MB \|           | \| 50 \|                                                 | 18         | inconsistent cell count within the table           |
        | Examples:                     | Examples:\n\| count \| size \|\n\nExamples:              | 15         | examples without rows run nothing                  |
        | @core                         | Scenario Outline: no examples\n  Given a cache\n\n@core  | 9          | "no examples" is an outline without examples       |
      And a user types "pytest --collect-only"
      Then each copy is refused at its line for its reason
      And "pure_cache/keys.feature" itself is not

  Rule: Every tag is declared

    Scenario: a mistyped tag, and pytest's own markers that would silence a scenario
      When each of these lines is changed in a copy of "pure_cache/keys.feature"
        | LINE  | CHANGED TO | REFUSED AT | BECAUSE            |
        | @core | @croe      | 9          | unknown tag @croe  |
        | @core | @skip      | 9          | unknown tag @skip  |
        | @core | @xfail     | 9          | unknown tag @xfail |
      And a user types "pytest --collect-only"
      Then each copy is refused at its line for its reason
      And "pure_cache/keys.feature" itself is not

  Rule: The checks never stop working silently
    They rely on parts of pytest-bdd that a new version may move.

    Scenario Outline: a later pytest-bdd without <name>
      Given a pytest-bdd that has no "<name>" in its module "<module>"
      When a user types "pytest features/"
      Then pytest exits with 4
      And pytest says
        """
        is not as this suite's checks know it (gone: <words>): install the version pyproject.toml names, or adapt
        """

      Examples:
        | module | name                           | words                                                                       |
        | steps  | step_function_context_registry | cannot import name 'step_function_context_registry' from 'pytest_bdd.steps' |
        | parser | ScenarioTemplate.render        | render                                                                      |
