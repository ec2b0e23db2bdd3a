"""The pairs that `tuning_example.py` measures: what is compared, and when it does not pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from redis import Redis

from tuning import connecting, many_keys, one_command, pipelining, sharing
from tuning.client_cache import TrackedCache

Way = Callable[[Any, Sequence[str]], object]
"""A way to work on keys with a client."""


@dataclass(frozen=True)
class Pair:
    """A practice: its two ways, what they need, and when the tuned one does not pay."""

    name: str
    naive: Way
    tuned: Way
    not_when: str
    needs: Literal["cache", "cluster"] = "cache"


def read_tracked(server: Redis, keys: Sequence[str]) -> None:
    """Read each key five times through a cache in the client; opening it included."""
    with TrackedCache(server) as tracked:
        for _ in range(5):
            for key in keys:
                tracked.get(key)


def read_again(server: Redis, keys: Sequence[str]) -> None:
    """Read each key five times from the server."""
    for _ in range(5):
        pipelining.one_at_a_time(server, keys)


PAIRS = (
    Pair(
        "pipeline of 10",
        pipelining.one_at_a_time,
        partial(pipelining.in_pipelines, depth=10),
        "a command needs the answer of the one before",
    ),
    Pair("pipeline of 100", pipelining.one_at_a_time, pipelining.in_pipelines, "the same"),
    Pair(
        "pipeline of 300, not 100",
        pipelining.in_pipelines,
        partial(pipelining.in_pipelines, depth=300),
        "memory counts: answers wait on both sides",
    ),
    Pair("MGET of 100", pipelining.one_at_a_time, many_keys.read_together, "keys lie in different slots"),
    Pair("MSET of 100", many_keys.write_each, many_keys.write_together, "values need a ttl"),
    Pair("connection kept", connecting.connect_each_time, pipelining.one_at_a_time, "never"),
    Pair("SET with EX", one_command.set_then_expire, one_command.set_with_ttl, "never"),
    Pair("script, not WATCH", one_command.read_modify_write, one_command.by_script, "the work is long"),
    Pair("cache in the client", read_again, read_tracked, "values change as often as they are read"),
    Pair(
        "cluster: client's pipeline",
        sharing.read_each,
        sharing.read_by_pipeline,
        "a command needs an answer",
        "cluster",
    ),
    Pair(
        "cluster: a pipeline a node",
        sharing.read_by_pipeline,
        sharing.read_by_node,
        "there are few keys, or commands with several",
        "cluster",
    ),
    Pair(
        "cluster: one hash tag",
        sharing.read_fields_apart,
        sharing.read_fields_together,
        "all keys would share it: one node does it all",
        "cluster",
    ),
)
