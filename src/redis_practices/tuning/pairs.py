"""What `tuning_example.py` times on a server or cluster that is there: both ways of each practice, and when not to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from redis_practices.tuning import connecting, many_keys, one_command, parsing, pipelining, sharing, sizes
from redis_practices.tuning.asking_at_once import tasks_of
from redis_practices.tuning.client_cache import read_again, read_tracked

Way = Callable[[Any, Sequence[str]], object]
"""A way to work on keys with a client."""

Prepared = Callable[[Any], AbstractContextManager[Callable[[Sequence[str]], object]]]
"""From a client to such a way; what it makes ready is not timed."""


@dataclass(frozen=True)
class Pair:
    """A practice: its two ways, what they need, and when the tuned one does not pay."""

    name: str
    naive: Prepared
    tuned: Prepared
    not_when: str
    needs: Literal["cache", "cluster"] = "cache"
    keys: int | None = None
    """How many keys are enough, where all of them would take long."""


def plain(way: Way) -> Prepared:
    """Return a way that needs nothing made ready."""
    return lambda client: nullcontext(partial(way, client))


EACH, BY_TEN, BY_HUNDRED, BY_THOUSAND = (
    plain(pipelining.one_at_a_time),
    *(plain(partial(pipelining.in_pipelines, depth=depth)) for depth in (10, 100, 1000)),
)

PAIRS = (
    Pair("pipeline of 10", EACH, BY_TEN, "a command needs the answer of the one before"),
    Pair("pipeline of 100", EACH, BY_HUNDRED, "the same"),
    Pair("pipeline of 1000, not 100", BY_HUNDRED, BY_THOUSAND, "memory counts: answers wait on both sides"),
    Pair("MGET of 100", EACH, plain(many_keys.read_together), "keys lie in different slots"),
    Pair("MSET of 100", plain(many_keys.write_each), plain(many_keys.write_together), "values need a ttl"),
    Pair("connection kept", plain(connecting.connect_each_time), EACH, "never", keys=30),
    Pair("20 asyncio tasks, loopback", EACH, tasks_of, "there is no network between: a loop is as fast", keys=200),
    Pair("hiredis, single reads", plain(parsing.without_hiredis), EACH, "answers are short", keys=200),
    Pair(
        "SET with EX",
        plain(one_command.set_then_expire),
        plain(one_command.set_with_ttl),
        "never",
        keys=200,
    ),
    Pair(
        "script, not WATCH",
        plain(one_command.read_modify_write),
        plain(one_command.by_script),
        "the work is long: everybody else waits",
        keys=200,
    ),
    Pair(
        "function, not WATCH",
        plain(one_command.read_modify_write),
        plain(one_command.by_function),
        "the same; servers before 7.0",
        keys=200,
    ),
    Pair("one field of a document", sizes.whole_document, sizes.one_field, "all of it is read each time", keys=200),
    Pair(
        "cache in the client",
        plain(read_again),
        plain(read_tracked),
        "values change as often as they are read",
        keys=200,
    ),
    Pair(
        "cluster: client kept",
        plain(connecting.cluster_each_time),
        plain(sharing.read_each),
        "never",
        "cluster",
        keys=10,
    ),
    Pair(
        "cluster: client's pipeline",
        plain(sharing.read_each),
        plain(sharing.read_by_pipeline),
        "a command needs an answer",
        "cluster",
        keys=300,
    ),
    Pair(
        "cluster: a pipeline a node",
        plain(sharing.read_by_pipeline),
        plain(sharing.read_by_node),
        "there are few keys, or commands with several",
        "cluster",
    ),
    Pair(
        "cluster: MGET, one hash tag",
        plain(sharing.read_fields_apart),
        plain(sharing.read_fields_together),
        "all keys would share it: one node does it all",
        "cluster",
        keys=50,
    ),
    Pair(
        "cluster: pipeline, one hash tag",
        plain(sharing.read_by_pipeline),
        plain(sharing.read_tagged_by_pipeline),
        "the servers are the limit: one of them does it all",
        "cluster",
        keys=300,
    ),
)
