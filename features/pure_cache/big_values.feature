@disruptive
Feature: One big value does not hold up everybody else
  A server answers one command at a time. While it frees a hundred thousand members, or copies megabytes, every
  other reader waits, and sees a cache that is slow for no reason of its own.

  Rule: Big things are freed beside the traffic

    @cache-013
    Scenario: UNLINK leaves the freeing to another thread
      Valkey 8 and later do the same for DEL (`lazyfree-lazy-user-del yes`); the comparison turns that off.

      Given a server of its own
      Then "UNLINK" of 100000 members takes within 50 milliseconds
      And "DEL" of them takes at least 3 times as long, if it frees them itself

  Rule: A flush is over when the memory is free

    @cache-014
    Scenario: after an asynchronous flush the memory is freed a little later
      Whoever takes the memory in use right after it as a baseline takes what is still being freed for data.

      Given a server of its own
      Then the memory of 100000 members is free within 3 seconds after "FLUSHALL ASYNC"
      And it is free at once after "FLUSHALL SYNC"

  Rule: Small readers are served while big values are read

    @cache-015
    Scenario: a small read beside readers of 2 MB stays quick
      Given a server of its own
      When 4 readers read a value of 2 MB all the time
      Then half of 200 small reads beside them take within 50 milliseconds
