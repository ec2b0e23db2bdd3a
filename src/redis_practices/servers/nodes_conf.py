"""The file in which a cluster node keeps what it knows of the others (``nodes.conf``), written before its first start.

It is no documented interface; `cluster_boot` says what it is good for and what happens when it is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from redis_practices.engine import version_of
from redis_practices.redis_cluster.formation import even_ranges

SHARD_IDS_SINCE = (7, 2)
"""The version, of Redis as of Valkey, that writes shard ids into ``nodes.conf``; older ones refuse them."""


class NodesConf:
    """The identities of the nodes of one cluster to be; node `i` is, or follows, primary `i % primaries`."""

    def __init__(self, ports: Sequence[int], buses: Sequence[int], primaries: int, engine: str) -> None:
        """Give every node an id, for an `engine` like "valkey 9.1.2"."""
        self.primaries = primaries
        self._places = list(zip(ports, buses, strict=True))
        self._ids = [secrets.token_hex(20) for _ in ports]
        self.ghosts = [secrets.token_hex(20) for _ in range(primaries)]
        # Which nodes belong together: Valkey makes up what is missing, and two primaries may end up as one shard.
        known = version_of(engine) >= SHARD_IDS_SINCE
        self._shards = [f",,shard-id={secrets.token_hex(20)}" if known else "" for _ in range(primaries)]

    def seen_by(self, me: int) -> str:
        """Return the cluster as node `me` shall see it at its boot; a primary sees itself as the replica of a ghost."""
        lines = []
        for index, (port, bus) in enumerate(self._places):
            primary = index % self.primaries
            role, follows, slots = "slave", self._ids[primary], ""
            if index == me < self.primaries:
                follows = self.ghosts[me]
            elif index < self.primaries:
                role, follows, slots = "master", "-", f" {self._slots(index)}"
            flags, link = (f"myself,{role}", "connected") if index == me else (role, "disconnected")
            place = f"127.0.0.1:{port}@{bus}{self._shards[primary]}"
            lines.append(f"{self._ids[index]} {place} {flags} {follows} 0 0 {primary + 1} {link}{slots}")
        if me < self.primaries:
            place = f":0@0{self._shards[me]}"
            lines.append(f"{self.ghosts[me]} {place} master,noaddr - 0 0 {me + 1} disconnected {self._slots(me)}")
        # Different epochs, so that no two of the promotions claim the same one.
        return "\n".join([*lines, f"vars currentEpoch {self.primaries + me} lastVoteEpoch 0\n"])

    def _slots(self, primary: int) -> str:
        """Return the slots of a primary as the file spells them."""
        first, last = even_ranges(self.primaries)[primary]
        return f"{first}-{last}"
