Feature: A replica answers reads of those who ask for it
  Reads from replicas take load off the primaries, at the price of now and then an old value. Who
  did not choose that must not get it, and a write must never land on a replica.

  @core
  Rule: A replica sends clients to its primary until they say that old values will do

    @cluster-064
    Scenario: reads of a replica are opt-in and writes are not taken
      Given the cluster holds "user:1" as "Ann"
      Then a replica of "user:1" answers
        | COMMANDS                        | ANSWER |
        | GET user:1                      | MOVED  |
        | READONLY; GET user:1            | Ann    |
        | READONLY; SET user:1 Bob        | MOVED  |
        | READONLY; READWRITE; GET user:1 | MOVED  |
      And "user:1" reads "Ann" through a client of the cluster
