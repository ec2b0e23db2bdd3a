@disruptive
Feature: Rotated credentials: readers do not notice when the login of the cache changes
  Tokens of a cloud's identity service end after minutes or hours, and a leaked password is replaced at once. A client
  that keeps the first login works until its next connection, often weeks later: then every service fails together.

  Background:
    Given an origin that takes 20 milliseconds
    And the origin holds "qiross" as "user:1"

  Rule: With an overlap, in which old and new login work, no read fails

    @cache-160
    Scenario Outline: readers with the login from <CREDENTIALS> read from the cache through a rotation
      The old user is deleted, which closes its connections. `LoginFile` reads the new login when a client connects again.
      `LoginStream` logs open connections in before that, so none is closed; the old user then ends early.

      Given an isolated cache
        | SETTING     | VALUE         |
        | credentials | <CREDENTIALS> |
      And a look-aside cache in front of the origin
      And a workload of 8 readers
      When the clients get a new login <OVERLAP> before the old one ends
      Then <CUT> connections were cut off
      And the workload measured
        | MEASUREMENT  | BOUND                   |
        | slowest read | within 400 milliseconds |
      And every reader got "qiross"
      And the origin was asked exactly once

      Examples:
        | CREDENTIALS | OVERLAP          | CUT        |
        | a file      | 100 milliseconds | at least 1 |
        | a stream    | 5 seconds        | exactly 0  |

    @cache-161
    Scenario: a near cache listens again after a rotation, and keeps no copy that it cannot vouch for
      Its connection for notices belongs to no pool, so no stream tells it a new login. It connects again.

      Given an isolated cache
        | SETTING     | VALUE  |
        | credentials | a file |
      And a near cache in front of the cache
      And the near cache holds "qiross" as "user:1"
      When the clients get a new login 100 milliseconds before the old one ends
      And a client runs "SET user:1 anna EX 60"
      Then the near cache reads "anna" from "user:1" within 2 seconds
      And the near cache is ready within 5 seconds

  Rule: Without an overlap, the origin answers until the new login has come

    @cache-162
    Scenario: readers are served while no login works, and use the cache again when one does
      The provider is late: the old login has ended, and the file with the new one is not there yet.

      Given an isolated cache
        | SETTING     | VALUE  |
        | credentials | a file |
      And a look-aside cache in front of the origin
      And a workload of 8 readers
      When the clients get a new login 400 milliseconds after the old one ends
      Then the look-aside cache is ready within 1 second
      And the workload measured
        | MEASUREMENT  | BOUND           |
        | slowest read | within 1 second |
      And every reader got "qiross"
