Feature: Memory is packed, and nobody is kept waiting
  A server does one command at a time. Whoever asks it for all keys, or has it free a million fields at once, makes
  everybody else wait; whoever stores small values each in a key of its own pays for the keys and not for the values.

  Rule: Small values share a key, large texts are compressed, and names are short

    @tuning-018
    Scenario: packing, compressing and naming save memory
      Given a server of its own
      Then 20000 small values packed in hashes take at least 2.5 times less memory
      And 100 texts compressed take at least 2.5 times less memory
      And 20000 values with short names take at least 1.2 times less memory

  Rule: What is read again and again outlives a scan

    @tuning-019 @disruptive
    Scenario: LFU keeps what is used while scans go through
      LRU knows when a key was used last, so a scan of keys that nobody wants again pushes out all others.

      Then a cache that evicts by LFU has at least 1.08 times the hits of one by LRU

  Rule: Long work is done in pieces or in the background

    @tuning-020
    Scenario: listing keys in steps and freeing in the background
      Given a server of its own that frees at once unless told otherwise
      And 30000 keys and a hash of 10000 fields on it
      Then one SCAN keeps others waiting at least 3 times less than KEYS
      And UNLINK frees exactly 1 of such hashes in the background
      And DEL frees exactly 0 of such hashes in the background
      When the server frees in the background whatever it is told
      Then DEL frees exactly 1 of such hashes in the background

  Rule: What is read far more often than written is kept in the client

    @tuning-021
    Scenario: the server says when a value that a client keeps has changed
      Given a server of its own
      And 100 values of 100 bytes on it
      And a cache in the client that the server keeps true
      Then 5000 reads of 100 keys ask the server exactly 100 times
      When somebody else writes one of the keys
      Then reading it gives what was written
      And 5000 reads of 100 keys ask the server exactly 0 times
