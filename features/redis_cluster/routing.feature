Feature: A key is found at the node that owns its slot
  A client may ask the wrong node: its map is old, or it has none yet. The answer sends it to the
  right one. A client that does not follow fails at every change of the cluster.

  @core
  Rule: A node that does not own a key's slot names the one that does

    Scenario: a wrong node redirects and the client follows
      Given the cluster holds "user:1" as "Ann"
      Then every primary that does not own "user:1" answers MOVED with its slot and its owner
      And a client whose map is wrong about "user:1" reads "Ann"
      And from any primary to any of 300 keys there is at most 1 redirection
