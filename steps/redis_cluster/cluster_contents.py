"""The sentences about what belongs to a key, and goes with it from node to node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then

from fixtures.redis_cluster.nodes import owner_of
from fixtures.reporting.measurements import Bound
from fixtures.stacks.protocols import need_command
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from redis import Redis

    from fixtures.stacks.protocols import Cluster

TTL = 1000
"""Seconds, far longer than the scenario."""


@dataclass(frozen=True)
class Contents:
    """How the value and the ttl of a key are read, and what they were, by key."""

    read: Callable[[Redis, str], tuple[str, int]]
    seen: dict[str, tuple[str, int]]


def _whole(client: Redis, key: str) -> tuple[str, int]:
    """Return a key as the server serializes it, and its ttl in milliseconds (``DUMP``, ``PTTL``)."""
    return repr(client.dump(key)), int(client.pttl(key))


def _field(client: Redis, key: str) -> tuple[str, int]:
    """Return a hash, and the ttl of its field "a" in milliseconds (``HGETALL``, ``HPTTL``)."""
    return str(client.hgetall(key)), int(client.hpttl(key, "a")[0])


@given(parsers.cfparse('a key of each type in the slot of "{key}", each with a ttl'), target_fixture="contents")
def have_types(cluster: Cluster, key_prefix: str, key: str) -> Contents:
    """Write small keys of all types at their owner."""
    tag = f"{{{key_prefix}{key}}}:"
    with owner_of(cluster, key_prefix + key).client() as client:
        client.set(f"{tag}string", "text")
        client.hset(f"{tag}hash", mapping={"a": "1", "b": "2"})
        client.rpush(f"{tag}list", "a", "b")
        client.sadd(f"{tag}set", 1, 2)
        client.zadd(f"{tag}zset", {"a": 1, "b": 2})
        client.xadd(f"{tag}stream", {"a": "1"})
        client.pfadd(f"{tag}count", "a", "b")
        keys = [tag + kind for kind in ("string", "hash", "list", "set", "zset", "stream", "count")]
        for name in keys:
            assert client.expire(name, TTL), f"{name} was not written"
        return Contents(_whole, {name: _whole(client, name) for name in keys})


@given(parsers.cfparse('a hash in the slot of "{key}" with a field that has a ttl'), target_fixture="contents")
def have_field_ttl(cluster: Cluster, key_prefix: str, key: str) -> Contents:
    """Write a hash of two fields, one of which expires (Unsupported before Redis 7.4 and Valkey 9.0)."""
    name = f"{{{key_prefix}{key}}}:hash"
    need_command(cluster.nodes[0], "HPEXPIRE", "Redis 7.4 or Valkey 9.0: fields of a hash that expire")
    with owner_of(cluster, key_prefix + key).client() as client:
        client.hset(name, mapping={"a": "1", "b": "2"})
        client.expire(name, TTL)
        assert client.hpexpire(name, TTL * 1000, "a") == [1]
        return Contents(_field, {name: _field(client, name)})


@then(parsers.cfparse("what they hold is as it was, and their ttl to {limit:Duration}", extra_types=TYPES))
def compare_contents(cluster: Cluster, contents: Contents, limit: Duration, measure: Callable[..., None]) -> None:
    """Read the keys at their owner, and measure by how much a ttl has grown or shrunk more than time has passed."""
    widest = 0
    for key, (value, ttl) in contents.seen.items():
        with owner_of(cluster, key).client() as client:
            seen, left = contents.read(client, key)
        assert seen == value, f"{key} was {value} and is {seen}"
        widest = max(widest, abs(ttl - left))
    measure("widest change of a ttl", unit="s", bound=Bound.at_most(limit.seconds()), seen=widest / 1000)
