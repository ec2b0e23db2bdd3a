Feature: Every key of a cache ends, says whose it is, and is small
  A cache fills for ever with keys that somebody wrote without a ttl, under names that nobody owns any more. One
  value of many megabytes holds up every other reader while it is sent.

  Rule: The keys of this cache keep to it

    @cache-047 @core
    Scenario: a sample of the keys has ttls and bounded sizes
      At most 1000 keys are looked at, by reads that do not count as a use. What this suite wrote is left out,
      except one key that shows that the look finds it. Styles of naming differ (Django's `:1:user_42`): a name is
      reported, and judged only by a pattern of your own. `practices.toml` has it, and the bounds:
      `[bounds]`, then `key-pattern = "shop:[a-z]+:.+"`, `key-size = "at most 50000"`, `key-ttl = "at most 3600"`.

      Given a sample of at most 1000 keys of the cache
      Then every key of the sample has a ttl of at most 2592000 seconds
      And keys of the sample that do not match "[^:]+:.+" are reported
      And every key of the sample takes at most 1000000 bytes

  Rule: What breaks it is found

    @cache-048 @disruptive
    Scenario: each kind of bad key is found, and nothing else
      Given a server of its own
      And 500 proper keys and these ones
        | KEY         | TTL     | BYTES   |
        | session:bad | none    | 10      |
        | stray       | 60      | 10      |
        | page:big    | 60      | 3000000 |
        | page:old    | 9000000 | 10      |
      Then a look at all its keys finds exactly
        | KEY         | WRONG  |
        | page:big    | size   |
        | page:old    | ttl    |
        | session:bad | no ttl |
        | stray       | name   |

    @cache-049 @disruptive
    Scenario: looking changes nothing
      Given a server of its own
      And 500 proper keys and these ones
        | KEY    | TTL | BYTES |
        | user:1 | 60  | 10    |
      Then a look at all its keys uses only SCAN, TTL and MEMORY USAGE, and makes none of them more recent
