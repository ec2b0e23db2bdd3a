"""The sentences about a cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from cache_example import recall, remember
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from fixtures.stacks.protocols import Cache
    from steps.common.vocabulary import Duration


@given(parsers.cfparse('"{key}" is cached as "{value}" for {ttl:Duration}', extra_types=TYPES))
def cache_a_value(cache: Cache, key_prefix: str, key: str, value: str, ttl: Duration) -> None:
    """Cache a value with a ttl."""
    remember(cache.client(), key_prefix + key, value, ttl.seconds())


@when(parsers.cfparse("{duration:Duration} have passed", extra_types=TYPES))
def let_time_pass(duration: Duration) -> None:
    """Let time pass: here it is the subject itself."""
    time.sleep(duration.seconds())


@then(parsers.cfparse('"{key}" reads "{value}"', extra_types=TYPES))
def read_the_value(cache: Cache, key_prefix: str, key: str, value: str) -> None:
    """Require that a read gives the value."""
    seen = recall(cache.client(), key_prefix + key)
    assert seen == value, f"{key} reads {seen!r}, expected {value!r}"


@then(parsers.cfparse('"{key}" is not in the cache', extra_types=TYPES))
def miss_the_value(cache: Cache, key_prefix: str, key: str) -> None:
    """Require that a read misses."""
    seen = recall(cache.client(), key_prefix + key)
    assert seen is None, f"{key} still reads {seen!r}"
