Feature: A scan of a cluster is a scan of each of its primaries
  Jobs that clean up, count or export walk over all keys. A job that scans one node, or replicas
  too, does its work on a part of the keys, or twice.

  Rule: Together the primaries show every key, and each key at one of them

    Scenario: a scan over all primaries meets every key at one node
      Given 5000 keys are written to the cluster
      When all primaries are scanned for them
      Then exactly 5000 keys were met
      And exactly 0 keys were met at more than one node
