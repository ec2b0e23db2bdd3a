Feature: A scan of a cluster is a scan of each of its primaries
  Jobs that clean up, count or export walk over all keys. A job that scans one node, or replicas
  too, does its work on a part of the keys, or twice.

  Rule: Together the primaries show every key, and each key at one of them

    @cluster-082
    Scenario: a scan over all primaries meets every key at one node
      Given 5000 keys are written to the cluster
      When all primaries are scanned for them
      Then exactly 5000 keys were met
      And exactly 0 keys were met at more than one node

  Rule: Whoever walks over all keys looks again where slots have arrived

    @cluster-083 @disruptive @known_limit
    Scenario: a scan of one primary after another misses a slot that moves behind it
      Given a cluster of 3 primaries with 1 replica each
      And 500 keys are written to the cluster
      When a slot moves from the last primary to the first during a scan of one after another
      Then all keys were met but those of the slot that moved

    @cluster-084 @disruptive
    Scenario: a walk that looks again meets every key
      Given a cluster of 3 primaries with 1 replica each
      And 500 keys are written to the cluster
      When a slot moves from the last primary to the first during a walk that looks again
      Then exactly 500 keys were met
