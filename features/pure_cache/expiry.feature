Feature: A key is gone when its ttl is over
  A cache that answers with what has expired shows yesterday's price. A ttl is kept to the millisecond for
  whoever reads; what nobody reads is freed later, and how much later is worth knowing.

  Rule: Whoever reads never sees an expired key

    @cache-043
    Scenario Outline: a ttl set with <OPTION> ends in time
      Alone on its machine a server is late by a millisecond; the bound leaves room for a reader that has to
      wait for a processor.

      Then a ttl that is set with "<OPTION>" ends at most 100 milliseconds late

      Examples:
        | OPTION |
        | EX     |
        | PX     |
        | EXAT   |
        | PXAT   |

    @cache-044 @disruptive
    Scenario: a replica does not show it either
      Given a server of its own
      And a replica of it
      Then a key that expired is gone on the replica too within 100 milliseconds

  Rule: What nobody reads is freed as well

    @cache-045 @disruptive
    Scenario: expired keys do not fill the memory
      The server looks for expired keys ten times a second, a sample at a time, and goes on while it finds many.

      Given a server of its own
      Then 1000 expired keys that nobody reads are gone within 3 seconds

  Rule: An expired event is no timer

    @cache-046 @disruptive @known_limit
    Scenario: most events come late when many other keys have a ttl
      The event is sent when the key is freed, not when its time is over: the server finds it by chance. Who
      needs a timer uses a sorted set of deadlines, or a task with an ETA. Of 300 keys with one deadline among
      10,000 others about 45 were reported within 8 seconds.

      Given a server of its own
      Then of 300 expired events at most 200 come within 1 second while 10000 other keys wait
