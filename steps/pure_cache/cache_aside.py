"""The sentences about a cache in front of an origin, and about its readers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import given as given_any
from hypothesis import strategies as st
from pytest_bdd import given, parsers, then, when
from redis import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from fixtures.bdd.vocabulary import records, register
from fixtures.context import Context, target
from fixtures.pure_cache.origin import Origin, World, at_once, connect, processes_at_once, tasks_at_once
from fixtures.reporting.measurements import Bound, Chart, Measure
from fixtures.run.keys import StackError
from fixtures.run.own_time import Stopwatch
from redis_practices.clients import client_options
from redis_practices.polling import eventually, join
from redis_practices.pure_cache.cache_aside import LEASE, NATIVE, SCRIPT, CacheAside, Effect, Unavailable, decoded
from redis_practices.pure_cache.overload import Breaker
from steps.common.keys import WORKLOADS
from steps.common.vocabulary import TYPES, Duration, Table, options, seconds


def percent(text: str) -> float:
    """Read "20 %" as a share."""
    return float(text.removesuffix(" %")) / 100


RULES: dict[str, tuple[str, Callable[[str], Any]]] = {}
"""By setting of a cache in front of an origin, the rule that it changes, and what reads its value."""


def setting(name: str, rule: str, meaning: str, read: Callable[[str], Any] = seconds) -> None:
    """Register a setting of a cache in front of an origin."""
    RULES[name] = rule, read
    register("setting", name, meaning)(read)


setting("ttl", "ttl", "how long a value stays in the cache")
setting("negative ttl", "absent_ttl", "how long the cache remembers that the origin has no value")
setting("jitter", "spread", "by which share ttls are shorter at random", percent)
setting("early refresh", "beta", "how early a read refreshes a value, as a factor (XFetch)", float)
setting("lease", "lease", "how long one reader may compute before another may")
setting("wait timeout", "patience", "how long a reader waits for the reader that computes")
setting("reply timeout", "timeout", "how long a reader waits for a reply of the cache")
register("setting", "again for", "how long each reader reads again and again")(seconds)
setting("connections", "connections", "how many connections the readers share; a reader waits for a free one", int)
setting("compare and set", "dialect", "the command of the engine, or a script", str)
setting("capacity", "limit", "how many values a near cache keeps", int)


@dataclass
class LookAside:
    """A look-aside cache under test, and the values of its readers."""

    context: Context
    aside: CacheAside
    client: Redis
    origin: Origin
    got: list[Any] = field(default_factory=list)

    def read(self, key: str) -> Any:
        """Read through the cache; the origin is asked on a miss."""
        value = self.aside.get_or_compute(self.context.key_prefix + key, lambda: self.origin.load(key))
        self.got.append(value)
        return value

    def hold(self, key: str, value: str) -> None:
        r"""Store the bytes of a text, in which ``\x80`` is one byte."""
        raw = b"" if value == "(empty)" else value.encode().decode("unicode_escape").encode("latin-1")
        self.client.set(self.context.key_prefix + key, raw, ex=60)

    def is_ready(self) -> bool:
        """Tell whether a read is a hit."""
        before = self.origin.calls
        self.read("user:1")
        return self.origin.calls == before


def look_aside(context: Context, rules: dict[str, Any]) -> LookAside:
    """Put a look-aside cache in front of the origin.

    By default it refreshes nothing early, and has no jitter.
    """
    usual: dict[str, Any] = {"ttl": 60.0, "beta": 0.0, "spread": 0.0, "draw": random.Random(7).random}
    rules = usual | rules
    dialect, timeout, number = (rules.pop(name, None) for name in ("dialect", "timeout", "connections"))
    if number:
        pool = BlockingConnectionPool.from_url(
            context.cache.url, max_connections=number, timeout=5, **client_options(2)
        )
        client = Redis(connection_pool=pool)
    else:
        limits = {"socket_timeout": timeout, "socket_connect_timeout": timeout} if timeout else {}
        client = context.cache.client(**limits)
    if "cache" in context.own:
        rules["breaker"] = Breaker(failures=3, pause=0.4)  # short: a try fails while the server is still down
    else:
        require_compare_and_set(client)
    made = LookAside(context, CacheAside(client, **rules), client, context.part(Origin))
    made.aside.protocol.known_dialect = SCRIPT if dialect == "a script" else ""
    return made


def require_compare_and_set(client: Redis) -> None:
    """Run a script where the engine has no compare-and-set command.

    A refusal is the reason of a skip. `CacheAside` works without it, and calls the origin each time.
    """
    with suppress(ResponseError):
        told = client.execute_command("COMMAND INFO", *NATIVE)
        if any(told.values() if isinstance(told, dict) else told):
            return
    client.eval("return 1", 0)


KINDS: dict[str, Callable[[Context, dict[str, Any]], Any]] = {"look-aside": look_aside}
"""What makes each kind of cache of the context and its rules; scenarios name it "the look-aside cache"."""


@given(parsers.parse("an origin that takes {delay:Duration}", extra_types=TYPES))
def have_origin(context: Context, delay: Duration) -> None:
    """Use a source of truth that takes this time for a call, and counts its calls.

    Example: ``Given an origin that takes 100 milliseconds``
    """
    context.part(Origin).delay = delay.seconds()


@given(parsers.parse("a {kind:CacheKind} cache in front of {target:Target}", extra_types=TYPES))
def have_cache(context: Context, kind: str, target: str, datatable: Table | None = None) -> None:
    """Put a cache of this kind in front of the origin.

    A near cache stands in front of the cache itself. A cache uses the isolated deployment of the scenario, else the
    cache under test. Reads of the scenario go through it.

    Example: ``Given a look-aside cache in front of the origin``
    """
    assert context.targets(target), f"there is no {target}"
    if context.role == "server":
        context.role = "cache"
    wanted = options(datatable, "SETTING").items()
    rules = {RULES[name][0]: RULES[name][1](value) for name, value in wanted}
    context.named["reader"] = context.named[f"the {kind} cache"] = KINDS[kind](context, rules)


target("the origin", "the source of truth behind the cache")(lambda context: context.part(Origin))
target("the {kind} cache", "the cache in front of the origin, as a reader of it sees it")(
    lambda context, kind: context.named[f"the {kind} cache"]
)
target("that reader", "the reader that the last step named")(lambda context: context.named["that reader"])


@dataclass
class PausedReader:
    """A reader that takes one step of `CacheProtocol` at a time."""

    cache: LookAside
    key: str
    value: Any = None

    def _steps(self, answer: Any = None) -> bool:
        """Take steps to the end or the origin; tell whether it asks."""
        try:
            step = self.steps.send(answer)
            while not isinstance(step, Effect):
                assert isinstance(step, tuple), "the reader waits for another reader"
                try:
                    reply = self.cache.aside._command(step)  # noqa: SLF001 - what its own driver does with a step
                except Unavailable as error:
                    step = self.steps.throw(error)
                else:
                    step = self.steps.send(reply)
        except StopIteration as done:
            self.cache.got.append(done.value)
            return False
        return True

    def claim(self) -> None:
        """Read until it holds the lease, and asks the origin next."""
        self.steps = self.cache.aside.protocol.get_or_compute(self.cache.context.key_prefix + self.key)
        assert self._steps(), "the reader found a value in the cache"

    def pause(self) -> None:
        """Ask the origin, and do not store the answer yet."""
        self.claim()
        self.value = self.cache.origin.load(self.key)

    def kill(self) -> None:
        """End with the lease."""
        self.claim()
        self.steps.close()

    def resume(self) -> None:
        """Store the answer of the origin unless the key has changed."""
        assert not self._steps(self.value), "the reader asks the origin again"


@target('a reader of "{key}"', "a further reader of the look-aside cache")
def a_reader(context: Context, key: str) -> PausedReader:
    """Return a new reader."""
    made = context.named["that reader"] = PausedReader(context.named["the look-aside cache"], key)
    return made


@dataclass
class CachedValue:
    """A value of the look-aside cache."""

    cache: LookAside
    name: str

    def make_due(self) -> None:
        """Let the next read refresh it; its ttl stays."""
        cached = self.cache.client.get(self.name)
        assert isinstance(cached, str), f"{self.name} is not cached"
        entry = decoded(cached.encode(), self.name)
        assert entry, f"{self.name} holds no entry"
        self.cache.client.set(self.name, entry.fresh_until(time.time() - 0.001).encoded(self.name), keepttl=True)

    def invalidate(self) -> None:
        """Delete it, and the lease of a reader that computes it."""
        self.cache.aside.invalidate(self.name)


target('the value of "{key}"', "a value of the look-aside cache")(
    lambda context, key: CachedValue(context.named["the look-aside cache"], context.key_prefix + key)
)


@when(parsers.parse('the origin changes "{key}" to "{value}"'))
def change_origin(context: Context, key: str, value: str) -> None:
    """Change a value in the origin, and not in the cache.

    Example: ``When the origin changes "user:1" to "new"``
    """
    context.part(Origin).hold(key, value)


@when(parsers.parse('{count:Count} readers in {kind:w} read "{key}" at once', extra_types=TYPES))
@records("slowest read", "longest time of one read", unit="s")
@records("misses seen", "looks at a key that is read all the time, and holds no value", unit="looks")
def read_at_once(context: Context, count: int, kind: str, key: str, datatable: Table | None = None) -> None:
    """Read one key through the look-aside cache at the same moment.

    Readers are threads, asyncio tasks, or threads of two processes. With the option ``again for`` each reader reads
    without end for that time, and the key is watched meanwhile.

    Example: ``When 100 readers in threads read "user:1" at once``
    """
    cache: LookAside = context.named["the look-aside cache"]
    url, name, shared = context.cache.url, context.key_prefix + key, "cache" not in context.own
    before = len(cache.got)
    if kind == "threads":
        if shared:  # where a connection is what fails, readers make their own
            connect(cache.client, count)
        again = seconds(options(datatable).get("again for", "0 seconds"))
        read_in_threads(cache, count, key, again)
    elif kind == "tasks":
        cache.got += tasks_at_once(url, count, cache.origin, name, key, connected=shared)
    else:
        cache.got += processes_at_once(url, 2, count // 2, cache.origin, name, key)
    assert len(cache.got) - before >= count, f"{len(cache.got) - before} of {count} readers came back"


def read_in_threads(cache: LookAside, count: int, key: str, again: float) -> None:
    """Read in threads, once or for some seconds; record the slowest read.

    The processor time of a reader does not count.
    """
    begun, took = list[float](), list[float]()

    def read() -> None:
        while True:
            watch = Stopwatch()
            begun.append(time.monotonic())
            cache.read(key)
            took.append(watch.seconds())
            if time.monotonic() >= until:
                return
            time.sleep(0.005)

    if again:
        cache.read(key)
    until = time.monotonic() + again
    with watched(cache, key, begun) if again else nullcontext():
        at_once(count, read)
    cache.context.record("slowest read", round(max(took), 3))


class ReadersAtWork:
    """Threads that read one key through the look-aside cache, until `seen` ends them."""

    def __init__(self, context: Context, writers: int, readers: int, _: Mapping[str, str]) -> None:
        """Start them, and wait until the value is cached."""
        assert not writers, "the origin is the only writer"
        self._cache, self._over = context.named["the look-aside cache"], threading.Event()
        self._took = list[float]()
        self._cache.read(READ)
        self._threads = [threading.Thread(target=self._read, daemon=True) for _ in range(readers)]
        for thread in self._threads:
            thread.start()
        context.ending.callback(self.end)

    def _read(self) -> None:
        while not self._over.wait(0.005):
            watch = Stopwatch()
            self._cache.read(READ)
            self._took.append(watch.seconds())

    def end(self) -> None:
        """Let all finish what they do."""
        self._over.set()
        for thread in self._threads:
            join(thread)

    def seen(self) -> Mapping[str, float]:
        """End after some more reads, and return the slowest of all."""
        enough = len(self._took) + FURTHER
        eventually(lambda: len(self._took) >= enough, within=10.0, every=0.01)
        self.end()
        return {"slowest read": round(max(self._took), 3)}

    def report(self, measure: Measure, _: Chart) -> None:
        """Show how many reads there were."""
        measure("reads", unit="reads", seen=len(self._took))


READ, FURTHER = "user:1", 50
"""The key of these readers, and their reads after what happened to them."""

WORKLOADS["the look-aside cache"] = ReadersAtWork
register("measurement", "slowest read", "longest time of one read", unit="s")(ReadersAtWork.seen)

ALL_THE_TIME = 0.1
"""Seconds without a read after which a key is not read all the time: then no reader is there to refresh it."""


@contextmanager
def watched(cache: LookAside, key: str, reads: list[float]) -> Iterator[None]:
    """Look at a key every 2 ms during a block, and record misses.

    `reads` are the moments at which a reader began. A miss leaves a lease in the key for as long as the origin takes.
    """
    ended, misses = threading.Event(), list[bytes | None]()

    def watch() -> None:
        with cache.context.cache.client(decode_responses=False) as client:
            while not ended.wait(0.002):
                raw = client.get(cache.context.key_prefix + key)
                if raw is None or raw.startswith(LEASE):
                    misses.append(raw)

    def seen(_: Bound | None) -> float:
        moments = sorted(reads)
        pause = max(later - earlier for earlier, later in pairwise(moments))
        if misses and pause > ALL_THE_TIME:
            raise StackError(f"no reader read {key} for {pause:.2f} s: the judge's own processor is too busy")
        return len(misses)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        join(watcher)
    cache.context.record("misses seen", seen)


@then(parsers.parse("every reader got {value:Value}", extra_types=TYPES))
def check_got(context: Context, value: str | None) -> None:
    """Compare all values that readers got since the last such step.

    There must be at least one.

    Example: ``Then every reader got "qiross"``
    """
    cache: LookAside = context.named["the look-aside cache"]
    got, cache.got = set(cache.got), []
    assert got == {value}, f"the readers got {got}, not only {value!r}"


@then(parsers.parse("the origin was asked {times:Times}", extra_types=TYPES))
def check_calls(context: Context, times: Bound) -> None:
    """Compare the number of calls of the origin since the scenario began.

    Example: ``Then the origin was asked exactly once``
    """
    context.measure("calls of the origin", unit="calls", bound=times, seen=context.part(Origin).calls)


@register("property", "no reader gets a stale value", "what a reader gets is not older than the last invalidation")
def check_orders(context: Context, count: int) -> None:
    """Let Hypothesis choose the order of steps."""
    cache: LookAside = context.named["the look-aside cache"]
    protocol = cache.aside.protocol

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given_any(turns=st.lists(st.integers(0, 4), min_size=20, max_size=80))
    def run(turns: list[int]) -> None:
        cache.aside.rules = protocol.rules = replace(protocol.rules, patience=0.0 if turns[0] == 0 else 60.0)
        world = World(cache.client, cache.aside, f"{context.key_prefix}race")
        for turn in turns:
            world.steps[turn]()

    run()


@register("property", "a change is seen at once", "a read that begins after an invalidation gets the new value")
def check_changes(context: Context, count: int) -> None:
    """Change and invalidate a value that 8 threads read."""
    cache: LookAside = context.named["the look-aside cache"]
    settled, ended, late = [0], threading.Event(), set[int]()
    cache.origin.hold("number", 0)

    def read() -> None:
        while not ended.is_set():
            oldest = settled[0]
            if cache.read("number") < oldest:
                late.add(oldest)

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(8)]
        try:
            for number in range(1, count + 1):
                cache.origin.hold("number", number)
                cache.aside.invalidate(f"{context.key_prefix}number")
                settled[0] = number
                ended.wait(0.005)
        finally:
            ended.set()
    for reader in readers:
        reader.result()
    assert not late, f"{len(late)} of {count} changes were seen late"
