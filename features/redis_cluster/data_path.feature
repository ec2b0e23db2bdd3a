@audit
Feature: What goes into the cluster comes out of it
  A cluster answers for many machines. One of them that loses or changes what it acknowledged spoils a share
  of all keys, and which share nobody knows.

  @core
  Rule: What was acknowledged is there, whole, at whichever node

    @cluster-013
    Scenario: no acknowledged write is lost
      Given a writer and a reader of the cluster
      Then of 2000 acknowledged writes exactly 0 are lost

    @cluster-014
    Scenario: a large value comes back as it was
      Given a writer and a reader of the cluster
      Then a value of 1048576 bytes comes back as it was

    @cluster-015
    Scenario: a read sees the write before it
      Given a writer and a reader of the cluster
      Then exactly 0 of 200 reads right after a write is stale

    @cluster-016
    Scenario: a deleted key is gone
      Given a writer and a reader of the cluster
      Then exactly 0 of 100 keys are there right after they were deleted

  @core
  Rule: What one client alone may do, one alone does

    @cluster-017
    Scenario: a lock has one holder
      Given a writer and a reader of the cluster
      Then of 20 clients that want a lock exactly 1 gets it

    @cluster-018
    Scenario: no increment is lost
      Given a writer and a reader of the cluster
      Then of 200 increments by two clients exactly 0 are lost
