Feature: Key hygiene: each key of a cache has a ttl, an owner and a bounded size
  A cache fills up with keys that were written without a ttl, under names that no team owns. One value of many
  megabytes, a big key, delays all other readers while it is sent.

  Rule: The keys of the cache keep the limits

    @cache-047 @core
    Scenario: a sample of the cache's keys keeps the limits of ttl, name and size
      At most 1000 keys are looked at, by reads that do not count as a use. Keys of this suite are left out, except
      one key that shows that the sample finds keys. Styles of names differ (Django's `:1:user_42`): names of another
      style are reported, and judged only by a pattern that you set. `practices.toml` changes the limits:
      `[bounds]`, then `key-pattern = "shop:[a-z]+:.+"`, `key-size = "at most 50000"`, `key-ttl = "at most 3600"`.
      Remedy: write each key with a ttl (`SET key value EX 3600`), and give the found ones a ttl by
      `EXPIRE <key> <seconds>`.

      Given the cache under test
      Then the keys of the cache keep these limits
        | LIMIT       | BOUND           |
        | key-ttl     | at most 2592000 |
        | key-pattern | [^:]+:.+        |
        | key-size    | at most 1000000 |

  Rule: A key that breaks a limit is found

    @cache-048 @disruptive
    Scenario: each kind of bad key is found, and no other key
      Given an isolated cache
      And these keys
        | KEY         | TYPE   | BYTES   | TTL     |
        | session:bad | string | 10      | none    |
        | stray       | string | 10      | 60      |
        | page:big    | string | 3000000 | 60      |
        | page:old    | string | 10      | 9000000 |
      When 500 keys "proper" are written
      Then the key findings are
        | KEY         | PROBLEM |
        | page:big    | size    |
        | page:old    | ttl     |
        | session:bad | no ttl  |
        | stray       | name    |

    @cache-172 @disruptive
    Scenario: the log of large replies names a big value that is read, without a look at the keys
      Given an isolated cache
      And an engine with "COMMANDLOG"
      And these keys
        | KEY        | TYPE   | BYTES   |
        | page:big   | string | 3000000 |
        | page:small | string | 10      |
      When "page:small" is read 10 times
      And "page:big" is read 2 times
      Then the large replies are
        | KEY      |
        | page:big |
        | page:big |
