@disruptive
Feature: Big keys: one big value does not hold up small reads
  A server runs one command at a time. While it frees a hundred thousand members, or copies megabytes, all other
  clients wait. Small reads become slow, and no slow command of their application explains it.

  Rule: Lazy free: big keys are freed in the background

    @cache-013
    Scenario: UNLINK of a big set does not wait until its memory is free
      From Valkey 8.0 on DEL does the same (`lazyfree-lazy-user-del yes`). The comparison turns that off.

      Given an isolated cache
      When the cache serves 5 freed sets of 100000 members
      Then the measurements are
        | MEASUREMENT                 | BOUND                  |
        | time of UNLINK              | within 50 milliseconds |
        | DEL as a multiple of UNLINK | at least 3             |

  Rule: After a flush the memory is free

    @cache-014
    Scenario: FLUSHALL ASYNC frees the memory after its reply, FLUSHALL SYNC before
      A baseline that is measured right after an asynchronous flush counts memory that is still being freed as data.

      Given an isolated cache
      And these keys
        | KEY | TYPE | COUNT  |
        | big | set  | 100000 |
      Then the cache has at least 1000000 bytes of data
      When a client runs "FLUSHALL ASYNC"
      Then the cache has at most 1000000 bytes of data within 3 seconds
      Given these keys
        | KEY | TYPE | COUNT  |
        | big | set  | 100000 |
      When a client runs "FLUSHALL SYNC"
      Then the cache has at most 1000000 bytes of data

  Rule: Small reads are served while big values are read

    @cache-015
    Scenario: the median small read takes at most 50 milliseconds while 4 clients read a value of 2 MB
      Given an isolated cache
      And a workload of 4 readers
      When "small" is read 200 times
      Then the median read took at most 50 milliseconds
