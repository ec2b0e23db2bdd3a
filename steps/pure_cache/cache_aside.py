"""The sentences about readers of a cache that stands in front of an origin."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.pure_cache.origin import Origin
from fixtures.reporting.measurements import Bound
from redis_practices.pure_cache.cache_aside import CacheAside, new_lease
from steps.common.vocabulary import TYPES, Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.stacks.protocols import Cache


@dataclass
class Front:
    """A cache in front of an origin, and what its readers got."""

    cache: Cache
    prefix: str
    origin: Origin
    aside: CacheAside
    got: list[Any] = field(default_factory=list)
    slowest: float = 0.0

    def read(self, key: str) -> Any:
        """Read through the cache, and take note of how long that took."""
        begun = time.monotonic()
        value = self.aside.get_or_compute(self.prefix + key, lambda: self.origin.load(key))
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return value

    def with_rules(self, **rules: Any) -> None:
        """Change some rules of the cache."""
        self.aside.rules = self.aside.flows.rules = replace(self.aside.rules, **rules)


@given(parsers.cfparse("an origin that takes {delay:Duration}", extra_types=TYPES), target_fixture="origin")
def have_origin(delay: Duration) -> Origin:
    """Have an origin that counts its calls."""
    return Origin(delay.seconds())


@given(parsers.parse('it holds "{value}" as "{key}"'))
@when(parsers.parse('the origin gets "{value}" as "{key}"'))
def hold_value(origin: Origin, value: str, key: str) -> None:
    """Let the origin hold a value."""
    origin.values[key] = value


@given(
    parsers.cfparse("a cache in front of it that keeps values for {ttl:Duration}", extra_types=TYPES),
    target_fixture="front",
)
def have_front(cache: Cache, key_prefix: str, origin: Origin, ttl: Duration) -> Front:
    """Put the cache of this process in front of the origin; early refreshes are a matter of other scenarios."""
    return Front(cache, key_prefix, origin, CacheAside(cache.client(), ttl=ttl.seconds(), beta=0, spread=0))


@given(parsers.cfparse("a cache in front of it that waits at most {patience:Duration} for others", extra_types=TYPES))
def have_patience(front: Front, patience: Duration) -> None:
    """Limit how long a reader waits for the one that computes."""
    front.with_rules(patience=patience.seconds())


@given(parsers.cfparse('somebody takes the lease of "{key}" for {lease:Duration} and dies', extra_types=TYPES))
def take_lease(front: Front, key: str, lease: Duration) -> None:
    """Leave in the key what a reader leaves there that was killed while it computed."""
    front.cache.client().set(front.prefix + key, new_lease(), px=round(lease.seconds() * 1000))


@given(parsers.parse('"{key}" holds the bytes {text}'))
def hold_bytes(front: Front, key: str, text: str) -> None:
    """Write what is no entry of ours."""
    raw = b"" if text == "(none)" else text.encode().decode("unicode_escape").encode("latin-1")
    front.cache.client().set(front.prefix + key, raw, ex=60)


@given("the origin fails")
def break_origin(origin: Origin) -> None:
    """Let every call of the origin fail."""
    origin.failing = True


@when("the origin works again")
def mend_origin(origin: Origin) -> None:
    """Let the origin answer again."""
    origin.failing = False


@then(parsers.parse('they all got "{value}"'))
def check_got(front: Front, value: str) -> None:
    """Require that every reader got the value."""
    assert set(front.got) == {value}, f"the readers got {set(front.got)}, not only {value!r}"


@then(parsers.cfparse("the origin was asked {bound:Bound} times", extra_types=TYPES))
def check_calls(origin: Origin, bound: Bound, measure: Callable[..., None]) -> None:
    """Count the calls of the origin since the scenario began."""
    measure("origin calls", unit="calls", bound=bound, seen=origin.calls)


@then(parsers.cfparse("the slowest of them waited {bound:Bound}", extra_types=TYPES))
def check_slowest(front: Front, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the longest wait of a reader against the bound."""
    measure("slowest reader", unit="s", bound=bound, seen=round(front.slowest, 3))


@then(parsers.parse('a reader of "{key}" gets the origin\'s error'))
def check_error(front: Front, key: str) -> None:
    """Require that the error reaches the reader."""
    with pytest.raises(RuntimeError, match="the origin fails"):
        front.read(key)


@then(parsers.parse('"{key}" can be read without the origin'))
def check_hit(front: Front, key: str) -> None:
    """Require a hit."""
    before = front.origin.calls
    value = front.read(key)
    assert front.origin.calls == before, f"{key} was computed again: it is not in the cache"
    assert value == front.origin.values[key], f"{key} reads {value!r}"
