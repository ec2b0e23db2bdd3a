Feature: Keys are distributed over the nodes by their slots
  Client and server compute a key's slot each for themselves. If they ever disagree, keys are sent
  astray; if keys do not spread, one node is full while the others idle.

  @core
  Rule: The client's slot of any key is the server's

    Scenario: the slot of any binary key
      Then the client's slot of any binary key is the server's

  @core
  Rule: Keys are spread over all primaries

    Scenario: keys are found on every primary
      Given 1000 keys are written to the cluster
      Then each primary holds at least 1 of them
      And all of them are readable
