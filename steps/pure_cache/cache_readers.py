"""The sentences about those who read through a cache: one, one after another, and all at once."""

from __future__ import annotations

import time

from pytest_bdd import parsers, when

from fixtures.pure_cache.origin import at_once, processes_at_once, tasks_at_once
from steps.common.vocabulary import TYPES
from steps.pure_cache.cache_aside import Front


@when(parsers.parse('a reader asks for "{key}"'))
def ask_once(front: Front, key: str) -> None:
    """Read once."""
    front.got = [front.read(key)]


@when(parsers.cfparse('{number:Count} readers in {where} ask for "{key}" at once', extra_types=TYPES))
def ask_at_once(front: Front, number: int, where: str, key: str) -> None:
    """Ask in real threads, tasks or processes, none of which begins before all are there."""
    if where == "threads":
        front.got = at_once(number, lambda: front.read(key))
    elif where == "tasks":
        front.got = tasks_at_once(front.cache.url, number, front.origin, front.prefix + key, key)
    else:
        processes = int(where.removesuffix(" processes"))
        each = number // processes
        front.got = processes_at_once(front.cache.url, processes, each, front.origin, front.prefix + key, key)
    assert len(front.got) == number, f"{len(front.got)} of {number} readers came back"


@when(parsers.parse('a reader asks for "{key}" {times:d} times, one after another'), target_fixture="waits")
def ask_in_turn(front: Front, key: str, times: int) -> list[float]:
    """Read again and again, and return how long each read took in seconds."""
    front.got, waits = [], []
    for _ in range(times):
        begun = time.monotonic()
        front.got.append(front.read(key))
        waits.append(time.monotonic() - begun)
    return waits
