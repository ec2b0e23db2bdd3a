Feature: Connections are kept and shared
  Each new connection costs round trips before the first answer, and memory in the server. Programs that connect for
  every request spend most of their time on it, and meet the server's limit of clients on their busiest day.

  Rule: A client connects once

    Scenario: a client keeps its connection, and threads share a small pool
      Given a server of its own
      And 100 values of 100 bytes on it
      Then the server counts for these ways
        | WAY                              | CONNECTIONS | COMMANDS     |
        | GET, connecting each time        | exactly 100 | at least 200 |
        | GET one at a time                | exactly 0   | exactly 100  |
        | GET by 16 threads, 4 connections | at most 4   | at most 120  |

    Scenario: behind a network connecting costs more than the work
      Given 15 values of 100 bytes in the cache
      And the way there takes 1.5 milliseconds there and back
      Then these ways pay
        | NAIVE                     | TUNED             | TIMES FASTER | ROUNDS |
        | GET, connecting each time | GET one at a time | at least 3   | 4      |

  Rule: Waiting is shared

    Scenario: twenty asynchronous tasks wait at the same time
      Given 100 values of 100 bytes in the cache
      And the way there takes 1.5 milliseconds there and back
      Then these ways pay
        | NAIVE           | TUNED             | TIMES FASTER | ROUNDS |
        | asyncio, 1 task | asyncio, 20 tasks | at least 4   | 3      |
