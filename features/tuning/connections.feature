Feature: Connections are kept and shared
  Each new connection costs round trips before the first answer, and memory in the server. Programs that connect for
  every request spend most of their time on it, and meet the server's limit of clients on their busiest day.

  Rule: A client connects once

    @tuning-007
    Scenario: a client keeps its connection, and threads share a small pool
      Given a server of its own
      And 100 values of 100 bytes on it
      Then the server counts for these ways
        | WAY                              | CONNECTIONS | COMMANDS     |
        | GET, connecting each time        | exactly 100 | at least 200 |
        | GET one at a time                | exactly 0   | exactly 100  |
        | GET by 16 threads, 4 connections | at most 4   | at most 120  |

    @tuning-008
    Scenario: behind a network connecting costs more than the work
      Given 15 values of 100 bytes in the cache
      And the way there takes 1.5 milliseconds there and back
      Then these ways pay
        | NAIVE                     | TUNED             | TIMES FASTER | ROUNDS |
        | GET, connecting each time | GET one at a time | at least 3   | 4      |

    @tuning-009
    Scenario: on this machine alone, connecting costs most of the time too
      Given 30 values of 100 bytes in the cache
      Then these ways pay
        | NAIVE                     | TUNED             | TIMES FASTER | ROUNDS |
        | GET, connecting each time | GET one at a time | at least 5   | 15     |

    @tuning-010
    Scenario: a client of a cluster learns its slots once
      Given 5 values of 100 bytes in the cluster
      Then these ways to use the cluster pay
        | NAIVE                       | TUNED             | TIMES FASTER | LESS PROCESSOR TIME |
        | GET, a new client each time | GET key after key | reported     | at least 15         |

  Rule: Nobody waits for ever, and nobody is turned away
    Servers hang for a moment: a slow disk, a long command, a machine that is moved. A client without time-outs hangs
    with them; a short queue of connections turns away those who come meanwhile.

    @tuning-011 @disruptive
    Scenario: time-outs set a client free
      Given a server of its own
      Then while it hangs for 1 second a client with time-outs is free at least 2 times sooner than without

    @tuning-012 @disruptive
    Scenario: keepalive finds out that a client is gone
      It vanishes without a word, as with a cut cable: a network of its own is turned off.

      Then a client that vanishes is listed like this after a while
        | KEEPALIVE | CLIENTS   |
        | none      | exactly 1 |
        | 1 second  | exactly 0 |

    @tuning-013 @disruptive
    Scenario: the queue of connections has room for those who come while the server hangs
      Then of 60 clients that come while a server hangs so many are connected at once
        | QUEUE | CLIENTS    |
        | 8     | at most 20 |
        | 511   | exactly 60 |

  Rule: Waiting is shared

    @tuning-014
    Scenario: fifty asynchronous tasks wait at the same time
      Only waiting is shared, the client's own work is not: that is 16 times as fast on a quiet machine, and 3 times with
      twenty busy programs for each processor.

      Given 50 values of 100 bytes in the cache
      And the way there takes 1.5 milliseconds there and back
      Then so many reads are on their way at the same time
        | WAY               | READS       |
        | asyncio, 1 task   | exactly 1   |
        | asyncio, 50 tasks | at least 25 |
      And these ways pay
        | NAIVE           | TUNED             | TIMES FASTER | ROUNDS |
        | asyncio, 1 task | asyncio, 50 tasks | reported     | 3      |
