Feature: A client keeps its connections, shares them, and sets timeouts
  A new connection costs round trips before the first reply, and memory in the server. A program that connects for every
  request spends most of its time on that, and reaches maxclients on its busiest day. A client without timeouts hangs
  together with its server.

  Rule: A connection pool connects once

    @tuning-007
    Scenario: a client keeps its connection, and 16 threads share a pool of 4
      Given an isolated server
      And 100 values of 100 bytes
      Then each way cost
        | WAY                              | NEW CONNECTIONS | COMMANDS     |
        | GET, a new client each time      | exactly 100     | at least 200 |
        | GET one at a time                | exactly 0       | exactly 100  |
        | GET by 16 threads, 4 connections | at most 4       | at most 120  |

    @tuning-008
    Scenario: over a network, connecting for each read takes 2.5 times as long
      Given the cache under test
      And 15 values of 100 bytes
      And a round trip of 1.5 milliseconds
      Then the comparison shows
        | NAIVE                       | TUNED             | TIMES FASTER | ROUNDS |
        | GET, a new client each time | GET one at a time | at least 2.5 | 4      |

    @tuning-009 @slow
    Scenario: on the loopback, connecting for each read takes 5 times as long
      Given the cache under test
      And 30 values of 100 bytes
      Then the comparison shows
        | NAIVE                       | TUNED             | TIMES FASTER | ROUNDS |
        | GET, a new client each time | GET one at a time | at least 5   | 15     |

    @tuning-010
    Scenario: a new cluster client for each read fetches the slot map each time, for 15 times the processor time
      Given the cluster under test
      And 5 values of 100 bytes
      Then the comparison shows
        | NAIVE                       | TUNED             | TIMES FASTER | TIMES LESS PROCESSOR TIME |
        | GET, a new client each time | GET one at a time | reported     | at least 15               |

  Rule: Timeouts, keepalive and a long accept queue outlast a pause of either side
    Servers pause: a slow disk, a long command, a virtual machine that migrates. Clients vanish: a cut cable sends no FIN.

    @tuning-011 @disruptive
    Scenario: timeouts release a client from a paused server
      Given an isolated server
      Then the comparison shows
        | NAIVE                              | TUNED                                 | TIMES LESS TIME BLOCKED |
        | no timeouts, server paused for 1 s | short timeouts, server paused for 1 s | at least 2              |

    @tuning-012 @disruptive
    Scenario: tcp-keepalive finds a client whose network is gone
      Then each way cost
        | WAY             | CLIENTS LISTED |
        | tcp-keepalive 0 | exactly 1      |
        | tcp-keepalive 1 | exactly 0      |

    @tuning-013 @disruptive
    Scenario: a tcp-backlog of 511 has room for 60 clients that connect to a paused server
      Then each way cost
        | WAY             | CLIENTS CONNECTED |
        | tcp-backlog 8   | at most 20        |
        | tcp-backlog 511 | exactly 60        |

  Rule: A timeout is no limit for a command that waits, and a retry does nothing twice
    docs/clients.md shows which client libraries keep these promises.

    @tuning-050 @disruptive @slow
    Scenario: a read that blocks for longer than the timeout for replies ends in its own time
      redis-py 8 gives up after 5 seconds, asks again ten times, and fails after a minute.

      Given an isolated cache
      Then the cache replies
        | COMMANDS          | REPLY   |
        | BLPOP queue:1 5.5 | nothing |

    @tuning-051 @disruptive @known_limit
    Scenario: an INCR whose reply is lost is repeated by redis-py, and not by redis_client
      The server has done it. A client that sends it again counts twice, and its caller sees no error. `Redis(...)` sends a
      command up to ten times again, `Redis.from_url(...)` never.

      Given an isolated server
      Then each way cost
        | WAY                                  | COMMANDS  |
        | INCR by redis-py, its reply lost     | exactly 2 |
        | INCR by redis_client, its reply lost | exactly 1 |

  Rule: Concurrent requests share the waiting

    @tuning-014
    Scenario: 50 asyncio tasks wait for their replies at the same time
      Only waiting is shared, the client's own work is not. That is 16 times as fast on an idle machine, and 3 times as
      fast with 20 busy programs for each processor.

      Given the cache under test
      And 50 values of 100 bytes
      And a round trip of 1.5 milliseconds
      Then each way cost
        | WAY                 | READS AT ONCE |
        | asyncio, 1 at once  | exactly 1     |
        | asyncio, 50 at once | at least 25   |
      And the comparison shows
        | NAIVE              | TUNED               | TIMES FASTER | ROUNDS |
        | asyncio, 1 at once | asyncio, 50 at once | reported     | 3      |
