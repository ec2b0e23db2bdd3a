Feature: A cached value lives exactly as long as its ttl
  A cache that forgets too early sends every reader to the database. A cache that forgets too late serves stale
  values. Application and users rely on the ttl: it is the promise how old a value may be.

  Rule: A cached username expires

    @cache-087 @core @waits
    Scenario: a username cached for 10 seconds is there at once and gone after 12
      Given the cache under test
      And these keys
        | KEY      | TYPE   | VALUE  | TTL |
        | username | string | qiross | 10  |
        | city     | string | Paris  | 60  |
      Then the cache reads "qiross" from "username"
      When 12 seconds have passed
      Then the cache reads nothing from "username"
      And the cache reads "Paris" from "city"
