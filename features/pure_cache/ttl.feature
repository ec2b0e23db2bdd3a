Feature: Each command sets, keeps, drops or changes the ttl of its key as documented
  One command that silently drops the ttl of a key fills a cache with keys that never expire (a memory leak).
  The tables say what each command does, and each REPLY is that of the server to the last command of its row.

  Background:
    Given the cache under test

  Rule: Every way to set a ttl sets it

    @cache-075
    Scenario Outline: <COMMAND> sets a ttl
      Then the cache replies
        | COMMANDS                                | REPLY                    |
        | SET user:1 a; <COMMAND>                 | <REPLY>                  |
        | PTTL user:1                             | between 1 and 100000     |

      Examples:
        | COMMAND                   | REPLY |
        | SET user:1 b EX 100       | OK    |
        | SET user:1 b PX 100000    | OK    |
        | SETEX user:1 100 b        | OK    |
        | PSETEX user:1 100000 b    | OK    |
        | EXPIRE user:1 100         | 1     |
        | PEXPIRE user:1 100000     | 1     |
        | GETEX user:1 EX 100       | a     |

    @cache-076
    Scenario: TTL distinguishes a missing key from a key without a ttl
      Then the cache replies
        | COMMANDS                  | REPLY |
        | TTL user:1                | -2    |
        | SET user:1 a; TTL user:1  | -1    |

    @cache-077
    Scenario: EXPIRETIME returns the moment at which a key expires
      Given an engine with "EXPIRETIME"
      Then the cache replies
        | COMMANDS                                               | REPLY         |
        | SET user:1 a EXAT 9999999999; EXPIRETIME user:1        | 9999999999    |
        | SET user:1 a PXAT 9999999999000; PEXPIRETIME user:1    | 9999999999000 |
        | EXPIREAT user:1 9999999998; EXPIRETIME user:1          | 9999999998    |
        | PEXPIREAT user:1 9999999997000; PEXPIRETIME user:1     | 9999999997000 |

  Rule: A command that writes the value again drops the ttl, a command that changes it keeps the ttl

    @cache-078
    Scenario: SET and GETSET drop the ttl, SET with KEEPTTL keeps it
      Then the cache replies
        | COMMANDS                                                   | REPLY              |
        | SET user:1 a EX 100; SET user:1 b; TTL user:1              | -1                 |
        | SET user:1 a EX 100; GETSET user:1 b                       | a                  |
        | TTL user:1                                                 | -1                 |
        | SET user:1 a EX 100; SET user:1 b KEEPTTL; TTL user:1      | between 90 and 100 |

    @cache-081
    Scenario: commands that change a value in place keep the ttl
      Then the cache replies
        | COMMANDS                                                              | REPLY              |
        | SET count:1 1 EX 100; INCR count:1                                    | 2                  |
        | TTL count:1                                                           | between 90 and 100 |
        | SET text:1 a EX 100; APPEND text:1 b; SETRANGE text:1 1 c; TTL text:1 | between 90 and 100 |
        | HSET hash:1 f 1; EXPIRE hash:1 100; HSET hash:1 g 2; TTL hash:1       | between 90 and 100 |
        | RPUSH list:1 a; EXPIRE list:1 100; RPUSH list:1 b; TTL list:1         | between 90 and 100 |

    @cache-082
    Scenario: RENAME and COPY take the ttl along
      Then the cache replies
        | COMMANDS                                                 | REPLY              |
        | SET user:1 a EX 100; RENAME user:1 user:2; TTL user:2    | between 90 and 100 |
        | COPY user:2 user:1; TTL user:1                           | between 90 and 100 |

  Rule: A ttl can be removed, and changed under a condition

    @cache-083
    Scenario: PERSIST and GETEX remove the ttl, GETDEL the key
      Then the cache replies
        | COMMANDS                                         | REPLY |
        | SET user:1 a EX 100; PERSIST user:1              | 1     |
        | TTL user:1                                       | -1    |
        | PERSIST user:1                                   | 0     |
        | EXPIRE user:1 100; GETEX user:1 PERSIST          | a     |
        | TTL user:1                                       | -1    |
        | GETDEL user:1                                    | a     |
        | TTL user:1                                       | -2    |

    @cache-084
    Scenario: EXPIRE changes a ttl only if there is none, one, a shorter or a longer one
      Given an engine with "EXPIRE with options"
      Then the cache replies
        | COMMANDS                                      | REPLY             |
        | SET user:1 a; EXPIRE user:1 10 XX             | 0                 |
        | EXPIRE user:1 100 NX                          | 1                 |
        | EXPIRE user:1 100 NX                          | 0                 |
        | EXPIRE user:1 50 GT                           | 0                 |
        | EXPIRE user:1 200 GT                          | 1                 |
        | EXPIRE user:1 300 LT                          | 0                 |
        | EXPIRE user:1 50 LT                           | 1                 |
        | TTL user:1                                    | between 40 and 50 |

    @cache-085
    Scenario: a ttl in the past deletes the key
      Then the cache replies
        | COMMANDS                                      | REPLY |
        | SET user:1 a; EXPIRE user:1 -1; TTL user:1    | -2    |

  Rule: One command writes many keys with their ttl

    @cache-170
    Scenario: MSETEX writes all keys with one ttl, or none
      Given an engine with "MSETEX"
      Then the cache replies
        | COMMANDS                                                    | REPLY              |
        | MSETEX 2 user:1 a user:2 b EX 100; TTL user:1               | between 90 and 100 |
        | TTL user:2                                                  | between 90 and 100 |
        | MSETEX 2 user:1 c user:3 d NX EX 500; EXISTS user:3         | 0                  |
        | MGET user:1 user:2                                          | a b                |

  Rule: Hash field expiration: each field of a hash may have a ttl

    @cache-086
    Scenario: one field of a hash expires, and the other fields stay
      Given an engine with "HPEXPIRE"
      Then the cache replies
        | COMMANDS                                                               | REPLY  |
        | HSET hash:1 short 1 long 2; HPEXPIRE hash:1 100000 FIELDS 1 short      | 1      |
        | HTTL hash:1 FIELDS 2 short long                                        | 100 -1 |
        | HPERSIST hash:1 FIELDS 1 short; HTTL hash:1 FIELDS 1 short             | -1     |

    @cache-171
    Scenario: HSETEX writes a field with its ttl, and HGETEX renews the ttl as it reads
      Given an engine with "HSETEX"
      Then the cache replies
        | COMMANDS                                                            | REPLY |
        | HSETEX hash:1 EX 100 FIELDS 1 short 1; HTTL hash:1 FIELDS 1 short   | 100   |
        | HGETEX hash:1 EX 500 FIELDS 1 short                                 | 1     |
        | HTTL hash:1 FIELDS 1 short                                          | 500   |
