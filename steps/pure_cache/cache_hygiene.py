"""The sentences about the keys that a cache holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then
from redis.exceptions import NoPermissionError

from fixtures.run.keys import Unsupported
from fixtures.run.options import FILE
from redis_practices.polling import eventually
from redis_practices.pure_cache.key_audit import Hygiene, Key, judge, look_at, sample
from steps.common.vocabulary import assert_table, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fixtures.run.options import AuditBounds
    from fixtures.stacks.protocols import Cache
    from redis_practices.servers.server import Server

OWN = "practices:"
"""How the keys of this suite begin."""


@given(parsers.parse("a sample of at most {limit:d} keys of the cache"), target_fixture="keys")
def take_sample(cache: Cache, key_prefix: str, limit: int) -> list[Key]:
    """Look at keys that are there, those of other scenarios left out, and at one of ours that must be found."""
    ours = f"{key_prefix}seen"
    with cache.client() as client:
        client.set(ours, "x", ex=60)
        try:
            found = [*sample(client, limit), *look_at(client, [ours])]
        except NoPermissionError as error:
            raise Unsupported(f"needs to look at keys: {error}") from None
    assert found[-1].name == ours, "the look does not find a key that was just written"
    return [key for key in found if key.name == ours or not key.name.startswith(OWN)]


def _check(keys: list[Key], rules: Hygiene, kinds: tuple[str, ...]) -> None:
    """Require that nothing of these kinds is wrong with any key."""
    found = judge(keys, rules)
    told = "; ".join(f"{kind}: {', '.join(found[kind])}" for kind in kinds if kind in found)
    assert not told, f"of {len(keys)} keys these break it: {told}"


@then(parsers.parse("every key of the sample has a ttl of at most {seconds:d} seconds"))
def check_ttls(keys: list[Key], seconds: int, audit_bounds: AuditBounds, measure: Callable[..., None]) -> None:
    """Require a ttl, and none that is longer."""
    _check(keys, Hygiene(longest_ttl=_changed(audit_bounds, "key-ttl", seconds)), ("no ttl", "ttl"))
    measure("keys looked at", unit="keys", seen=len(keys))


@then(parsers.parse('every key of the sample matches "{pattern}"'))
def check_names(keys: list[Key], pattern: str, audit_bounds: AuditBounds) -> None:
    """Require a name by the pattern."""
    _check(keys, Hygiene(pattern=audit_bounds.text("key-pattern", pattern)), ("name",))


@then(parsers.parse("every key of the sample takes at most {size:d} bytes"))
def check_sizes(keys: list[Key], size: int, audit_bounds: AuditBounds, measure: Callable[..., None]) -> None:
    """Require a bounded size, the key's name included."""
    largest = _changed(audit_bounds, "key-size", size)
    measure("largest key", unit="B", seen=max(key.size for key in keys))
    _check(keys, Hygiene(largest=largest), ("size",))


def _changed(bounds: AuditBounds, name: str, default: int) -> int:
    """Return the number that practices.toml says ("at most 3600"), or the feature's."""
    text = bounds.text(name, "")
    if not text:
        return default
    assert re.fullmatch(r"at most \d+", text), f'{FILE}: write {name} = "at most {default}", not "{text}"'
    return int(text.rpartition(" ")[2])


@given(parsers.parse("{number:d} proper keys and these ones"))
def write_proper_keys(server: Server, number: int, datatable: Sequence[Sequence[str]]) -> None:
    """Write keys that keep to everything, and those of the table."""
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for index in range(number):
            pipeline.set(f"proper:{index}", "x", ex=60)
        for row in rows(datatable, ("KEY", "TTL", "BYTES")):
            ttl = None if row["TTL"] == "none" else int(row["TTL"])
            pipeline.set(row["KEY"], "x" * int(row["BYTES"]), ex=ttl)
        pipeline.execute()


@then("a look at all its keys finds exactly")
def check_found(server: Server, datatable: Sequence[Sequence[str]]) -> None:
    """Judge every key by the rules as they come."""
    with server.client() as client:
        found = judge(sample(client, 10_000), Hygiene())
    seen = sorted((name, kind) for kind, names in found.items() for name in names)
    assert_table(datatable, [{"KEY": name, "WRONG": kind} for name, kind in seen])


@then("a look at all its keys uses only SCAN, TTL and MEMORY USAGE, and makes none of them more recent")
def check_harmless(server: Server) -> None:
    """Compare what the server counted, and how long a key was idle, before and after."""
    with server.client() as client, server.client() as other:
        # The clock of the idle time ticks in seconds.
        eventually(lambda: client.object("idletime", "user:1") >= 1, within=5)
        other.config_resetstat()
        seen = len([*sample(client, 10_000)])
        used = {name.removeprefix("cmdstat_") for name in other.info("commandstats")}
        idle = client.object("idletime", "user:1")
        there = client.dbsize()
    assert seen == there, f"{seen} of {there} keys were looked at"
    # Before Redis 7.0 a server did not count subcommands apart.
    memory = "memory" if "memory" in used else "memory|usage"
    assert used - {"config", "config|resetstat", "info"} == {"scan", "ttl", memory}, f"the look used {used}"
    assert idle >= 1, "the look made a key more recent"
