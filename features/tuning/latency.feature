Feature: How long answers take is asked as users ask
  Users do not wait for each other. A measurement that sends its next request only when the last one is answered stops
  asking while the server hangs, reports a fine 99th percentile, and the team learns of the hang from its customers.

  Rule: Each request is timed from the moment it was due

    @tuning-015 @disruptive
    Scenario: a hang is one slow answer to a closed loop, and many to an open one
      Given a server of its own
      And 100 values of 100 bytes on it
      Then a hang of 0.3 seconds is seen like this by a second of 200 requests
        | LOOP   | WAITED 0.1 SECONDS |
        | closed | at most 5          |
        | open   | at least 30        |

    @tuning-016
    Scenario: latency by load
      The middle, what one in a hundred and what one in a thousand waits, at shares of what a loop of single reads
      reaches. The tail shows the machine as much as the server: it claims nothing.

      Given 100 values of 100 bytes in the cache
      Then answers take so long by load
        | % OF A LOOP |
        | 25          |
        | 50          |
        | 100         |
        | 200         |

  Rule: The client's own time is spent well

    @tuning-017 @disruptive
    Scenario: a compiled parser for long answers
      Given a server of its own
      Then hiredis saves a client processor time
        | AN ANSWER OF | TIMES LESS |
        | 1000 items   | at least 4 |
        | 1 value      | reported   |
