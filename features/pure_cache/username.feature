Feature: A cached value lives exactly as long as its ttl
  A cache that forgets too early sends every reader to the database; one that forgets too late
  serves what is no longer true. The ttl is the promise that both sides rely on.

  Rule: A cached username expires

    @cache-087 @core @waits
    Scenario: a username cached for 10 seconds is there at once and gone after 12
      Given "username" is cached as "qiross" for 10 seconds
      And "city" is cached as "Paris" for 60 seconds
      Then "username" reads "qiross"
      When 12 seconds have passed
      Then "username" is not in the cache
      And "city" reads "Paris"
