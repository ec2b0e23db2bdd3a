Feature: Data is packed, and no command blocks the server for long
  A Redis server runs one command at a time. KEYS, or the DEL of a big key, makes every other client wait. A key costs at
  least 50 bytes beside its value, so millions of small values pay for keys rather than for data.

  Rule: Small values share a hash, large texts are compressed, and names are short

    @tuning-018
    Scenario: hashes, compression and short names save memory
      Given an isolated server
      Then the comparison shows
        | NAIVE         | TUNED             | TIMES LESS MEMORY |
        | a key a value | 100 values a hash | at least 2.5      |
        | plain texts   | compressed texts  | at least 2.5      |
        | long names    | short names       | at least 1.2      |

    @tuning-045
    Scenario: fields of a hash have a ttl each, and take less memory than keys with a ttl
      Given an isolated server
      And an engine with "HSETEX"
      Then the comparison shows
        | NAIVE                    | TUNED                        | TIMES LESS MEMORY |
        | a key a value, with ttls | 100 values a hash, with ttls | at least 1.2      |

  Rule: LFU eviction keeps keys that are read again and again

    @tuning-019 @disruptive
    Scenario: LFU keeps hot keys that scans push out of an LRU cache
      LRU knows only when a key was read last, so a scan of keys that are never read again evicts hot keys.

      Then the comparison shows
        | NAIVE           | TUNED           | TIMES MORE HITS |
        | eviction by LRU | eviction by LFU | at least 1.08   |

  Rule: Long work is done in pieces or in the background

    @tuning-020
    Scenario: SCAN blocks other clients less than KEYS, and UNLINK frees a big key in the background
      Given an isolated server
        | SETTING   | VALUE |
        | maxmemory | 0     |
      And 30000 values of 10 bytes
      Then the comparison shows
        | NAIVE | TUNED | TIMES LESS TIME BLOCKED |
        | KEYS  | SCAN  | at least 3              |
      And each way cost
        | WAY                         | OBJECTS FREED IN THE BACKGROUND |
        | DEL                         | exactly 0                       |
        | UNLINK                      | exactly 1                       |
        | DEL, lazyfree-lazy-user-del | exactly 1                       |

  Rule: A near cache saves reads of values that are read far more often than written
    Client-side caching: the server invalidates what a client has cached (CLIENT TRACKING).

    @tuning-021
    Scenario: with a near cache, 5000 reads of 100 keys cost the server 100 reads, and one more after a change
      Given an isolated server
      And 100 values of 100 bytes
      Then each way cost
        | WAY                           | KEY READS    |
        | no near cache                 | exactly 5000 |
        | a near cache                  | exactly 100  |
        | a near cache, one key changes | exactly 101  |
