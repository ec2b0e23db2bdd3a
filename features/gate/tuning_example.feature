Feature: The pairs are measured on anybody's server
  What a practice buys depends on the network, the machine and the data. Whoever tunes measures at home.

  Background:
    Given these addresses
      | NAME    | OF                           |
      | CACHE   | a cache                      |
      | NOTHING | a port where nothing listens |

  Rule: One command measures, and says what it cannot do in one line

    @gate-062
    Scenario Outline: python src/tuning_example.py <options>
      When somebody runs "python src/tuning_example.py <options>"
      Then it exits with <code>

      Examples:
        | options                                                     | code |
        | --url redis://$CACHE --only MGET --seconds 0.5 --json       | 0    |
        | --url redis://$CACHE --only pipeline-of-none                | 2    |
        | --only "queue of" --markdown                                | 0    |
        | --markdown --json                                           | 2    |
        | --url localhost                                             | 2    |
        | --url redis://$NOTHING --only MGET                          | 1    |
        | --url redis://$CACHE --only MSET --seconds 0.5 --plot /no/x | 1    |
