Feature: A ttl is set, kept, lost and changed as each command says
  The classic way to fill a cache for ever is a command that takes a key's ttl away without a word. Which
  ones do, and which keep it, is worth knowing before the memory is full.

  Rule: Every way to set a ttl sets it

    @cache-075
    Scenario Outline: a ttl is set with <COMMAND>
      Then these commands answer, one after another
        | COMMAND   | ANSWER       |
        | SET KEY a | OK           |
        | <COMMAND> | <ANSWER>     |
        | PTTL KEY  | 1 to 100000  |

      Examples:
        | COMMAND                       | ANSWER |
        | SET KEY b EX 100              | OK     |
        | SET KEY b PX 100000           | OK     |
        | SETEX KEY 100 b               | 1      |
        | PSETEX KEY 100000 b           | 1      |
        | EXPIRE KEY 100                | 1      |
        | PEXPIRE KEY 100000            | 1      |
        | GETEX KEY EX 100              | a      |

    @cache-076
    Scenario: no ttl and no key are told apart
      Then these commands answer, one after another
        | COMMAND        | ANSWER |
        | TTL KEY        | -2     |
        | SET KEY a      | OK     |
        | TTL KEY        | -1     |

    @cache-077
    Scenario: the moment at which a key expires can be read
      Given an engine with "EXPIRETIME", which came with Redis 7.0
      Then these commands answer, one after another
        | COMMAND                       | ANSWER     |
        | SET KEY a EXAT 9999999999     | OK         |
        | EXPIRETIME KEY                | 9999999999 |
        | SET KEY a PXAT 9999999999000  | OK         |
        | PEXPIRETIME KEY               | 9999999999000 |
        | EXPIREAT KEY 9999999998       | 1          |
        | EXPIRETIME KEY                | 9999999998 |
        | PEXPIREAT KEY 9999999997000   | 1          |
        | PEXPIRETIME KEY               | 9999999997000 |

  Rule: Writing the value again drops the ttl, changing it keeps the ttl

    @cache-078
    Scenario: a plain write drops the ttl
      Then these commands answer, one after another
        | COMMAND          | ANSWER |
        | SET KEY a EX 100 | OK     |
        | SET KEY b        | OK     |
        | TTL KEY          | -1     |

    @cache-079
    Scenario: so does a write that returns the old value
      Then these commands answer, one after another
        | COMMAND          | ANSWER |
        | SET KEY a EX 100 | OK     |
        | GETSET KEY b     | a      |
        | TTL KEY          | -1     |

    @cache-080
    Scenario: a write can keep the ttl
      Then these commands answer, one after another
        | COMMAND           | ANSWER    |
        | SET KEY a EX 100  | OK        |
        | SET KEY b KEEPTTL | OK        |
        | TTL KEY           | 90 to 100 |

    @cache-081
    Scenario Outline: <COMMAND> keeps the ttl
      Then these commands answer, one after another
        | COMMAND        | ANSWER    |
        | <FIRST>        | <MADE>    |
        | EXPIRE KEY 100 | 1         |
        | <COMMAND>      | <ANSWER>  |
        | TTL KEY        | 90 to 100 |

      Examples:
        | FIRST        | MADE | COMMAND      | ANSWER |
        | SET KEY 1    | OK   | INCR KEY     | 2      |
        | SET KEY a    | OK   | APPEND KEY b | 2      |
        | SET KEY a    | OK   | SETRANGE KEY 1 b | 2  |
        | HSET KEY f 1 | 1    | HSET KEY g 2 | 1      |
        | RPUSH KEY a  | 1    | RPUSH KEY b  | 2      |

    @cache-082
    Scenario: a rename takes the ttl along, and a copy has it too
      Then these commands answer, one after another
        | COMMAND          | ANSWER    |
        | SET KEY a EX 100 | OK        |
        | RENAME KEY KEY.2 | 1         |
        | TTL KEY.2        | 90 to 100 |
        | COPY KEY.2 KEY   | 1         |
        | TTL KEY          | 90 to 100 |
        | DEL KEY.2        | 1         |

  Rule: A ttl can be taken away, and changed under a condition

    @cache-083
    Scenario: a key can be made to stay
      Then these commands answer, one after another
        | COMMAND           | ANSWER |
        | SET KEY a EX 100  | OK     |
        | PERSIST KEY       | 1      |
        | TTL KEY           | -1     |
        | PERSIST KEY       | 0      |
        | EXPIRE KEY 100    | 1      |
        | GETEX KEY PERSIST | a      |
        | TTL KEY           | -1     |
        | GETDEL KEY        | a      |
        | TTL KEY           | -2     |

    @cache-084
    Scenario: a ttl is set only where there is none, or one, or a shorter, or a longer one
      Given an engine with options of "EXPIRE", which came with Redis 7.0
      Then these commands answer, one after another
        | COMMAND           | ANSWER |
        | SET KEY a         | OK     |
        | EXPIRE KEY 10 XX  | 0      |
        | EXPIRE KEY 100 NX | 1      |
        | EXPIRE KEY 100 NX | 0      |
        | EXPIRE KEY 50 GT  | 0      |
        | EXPIRE KEY 200 GT | 1      |
        | EXPIRE KEY 300 LT | 0      |
        | EXPIRE KEY 50 LT  | 1      |
        | TTL KEY           | 40 to 50 |

    @cache-085
    Scenario: a ttl that is over already deletes the key
      Then these commands answer, one after another
        | COMMAND        | ANSWER |
        | SET KEY a      | OK     |
        | EXPIRE KEY -1  | 1      |
        | TTL KEY        | -2     |

  Rule: A field of a hash has a ttl of its own

    @cache-086
    Scenario: one field expires and the others stay
      Given an engine with "HPEXPIRE", which came with Redis 7.4 and Valkey 9.0
      Then these commands answer, one after another
        | COMMAND                         | ANSWER   |
        | HSET KEY short 1 long 2         | 2        |
        | HPEXPIRE KEY 100000 FIELDS 1 short | 1     |
        | HTTL KEY FIELDS 2 short long    | 100 -1   |
        | HPERSIST KEY FIELDS 1 short     | 1        |
        | HTTL KEY FIELDS 1 short         | -1       |
