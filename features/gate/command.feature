Feature: The command redis-practices judges, explains and finds promises
  A cause that was known in the first second must not wait for the verdict. A promise with an everyday name is not found
  by the words of a manual. So the command prints causes when they are found, and searches by both kinds of words.

  Background:
    Given these addresses
      | NAME   | DEPLOYMENT                |
      | BROKER | a broker without a worker |

  Rule: A refusal names its cause and its remedy, before the verdict

    @gate-093 @slow
    Scenario: the command names cause and remedy of a cache that evicts nothing
      When I run "PYTHONPATH=src python -m redis_practices --cache-url redis://$BROKER -- -k cache-007"
      Then the command exits with 1
      And the standard output contains
        """
        1 scenario on cache $BROKER ($ENGINE)
        refused: cache-007 the eviction policy of the cache may evict any entry
        but it is 'noeviction' on $BROKER
        Remedy: `CONFIG SET maxmemory-policy allkeys-lru`.
        redis-practices explain cache-007
        verdict: refused (1 scenario of
        """
      And the error output is "0/1 asked, now: the eviction policy of the cache may evict any entry"

  Rule: A promise is explained by its id, and found by its words and everyday names

    @gate-094
    Scenario: the command explains a promise with its reason, remedy and proof
      When I run "PYTHONPATH=src python -m redis_practices explain cache-007"
      Then the command exits with 0
      And the standard output contains
        """
        cache-007: the eviction policy of the cache may evict any entry
        Why: With `noeviction` a full cache refuses every write.
        Remedy: `CONFIG SET maxmemory-policy allkeys-lru`.
        Proof: features/pure_cache/audit.feature:
        Given the cache under test
        Then the setting "maxmemory-policy" is one of
        """

    @gate-095 @slow
    Scenario Outline: the words "<WORDS>" find <PROMISE>
      When I run "PYTHONPATH=src python -m redis_practices list <WORDS>"
      Then the command exits with 0
      And the standard output contains
        """
        <PROMISE>
        """

      Examples:
        | WORDS           | PROMISE     |
        | thundering herd | cache-016   |
        | split brain     | cluster-057 |

  Rule: A wrong word is refused in one line, with exit code 4 and the nearest known word

    @gate-096
    Scenario: the command names the subcommand that is nearest to an unknown one
      When I run "PYTHONPATH=src python -m redis_practices explian cache-007"
      Then the command exits with 4
      And the standard output is empty
      And the error output is "redis-practices: 'explian' is no subcommand; did you mean explain? (see --help)"
