@audit
Feature: What goes into the cluster comes out of it
  A cluster answers for many machines. One of them that loses or changes what it acknowledged spoils a share
  of all keys, and which share nobody knows.

  @core
  Rule: What was acknowledged is there, whole, at whichever node

    Scenario: no acknowledged write is lost
      Given a writer and a reader of the cluster
      Then of 2000 acknowledged writes exactly 0 are lost

    Scenario: a large value comes back as it was
      Given a writer and a reader of the cluster
      Then a value of 1048576 bytes comes back as it was

    Scenario: a read sees the write before it
      Given a writer and a reader of the cluster
      Then exactly 0 of 200 reads right after a write is stale
