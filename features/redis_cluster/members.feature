@audit
Feature: The map of the cluster has the nodes that are there, each in its role
  Machines are replaced, nodes are reset, messages come late. A dead id, a second primary or a replica of a dead node
  stays behind. Nothing fails until the next failover, which then finds no replica, or an empty one. Each state is
  looked at for 3 seconds: a node that joins and a failover pass through similar ones.

  Rule: No node is on the map twice, and no shard has two primaries

    @cluster-161
    Scenario: no node keeps the former id of another node
      A node that was reset, or has lost its nodes.conf, comes back with a new id. Its peers keep the old id as that of a
      dead node for ever (valkey#1757), and tools that repair or rebalance refuse to begin.
      Remedy: `CLUSTER FORGET <node>` on every node within a minute, with the former id.

      Given the cluster under test
      Then there are no nodes whose former id is kept

    @cluster-163
    Scenario: each shard has one primary
      A primary that was away for two failovers may come back as a second primary of its shard (valkey#2261). Clients that
      read CLUSTER SHARDS may take the empty one for the owner, and the shard has a replica less.
      Remedy: on the primary without slots, `CLUSTER RESET HARD`, `CLUSTER MEET <host> <port>` of a peer, then
      `CLUSTER REPLICATE <node>` with the id of the other primary. `CLUSTER FORGET <node>` on every node removes its old id.

      Given the cluster under test
      Then there are no nodes whose shard has another primary

  Rule: A replica follows the primary of its keys, and gets its copy

    @cluster-162
    Scenario: no replica follows a dead node or another replica
      An empty node may get the slots of a dead primary whose replica was not elected. The replica then follows the dead
      node for ever (valkey#2090): no client reaches its keys, which may be the only copy.
      Remedy: `BGSAVE` on this replica, and keep its dump.rdb. While no other node owns the slots,
      `CLUSTER FAILOVER TAKEOVER` on it serves its keys again. Else `CLUSTER REPLICATE <node>` on it, with the owner of the
      slots; `CLUSTER FORGET <node>` with the dead one on every node; `CONFIG SET cluster-replica-no-failover no`.

      Given the cluster under test
      Then there are no nodes whose primary is dead

    @cluster-164
    Scenario: no primary begins one full copy after another for a replica that never gets it
      A replica with a full disk, or with a folder that it may not write, fails at the end of each copy (valkey#1836). Its
      primary forks for each. A copy that takes minutes is no such loop: it grows.
      Remedy: the log of this replica names the error: free its disk, or mend the rights of its folder. If the log of the
      primary names output buffer limits, `CONFIG SET client-output-buffer-limit "replica 256mb 64mb 60"`. Where the disk
      stays slow, `CONFIG SET repl-diskless-load on-empty-db`.

      Given the cluster under test
      Then there are no nodes whose copies never end
