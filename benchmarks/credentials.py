"""Rotate the login of clients under load, and print what each kind of client survives.

Four threads send a SET every 5 ms through one client, or read through a cache. Meanwhile `Logins` replaces user and
password twice, each time in the same way. The old user is deleted, which closes its connections. For Celery a sender
sends 25 tasks a second to a worker of `src/worker.py`, and all results are read at the end.

    overlap     old and new login work for 1.5 s
    late by T   the old login ends, and the file gets the new one T seconds later
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from redis import Redis
from redis.auth.token import SimpleToken
from redis.cluster import RedisCluster
from redis.credentials import StreamingCredentialProvider
from redis.exceptions import RedisError

from lib.ending import run
from lib.side_by_side import caption
from lib.whole_run import progress

from fixtures.celery_worker.workers import runs_of_each
from fixtures.proxies.streams import TlsProxy
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.protocols import worker_environment
from redis_practices import cli
from redis_practices.celery_worker.sending import sender, value_of
from redis_practices.clients import cluster_client, redis_client, with_login
from redis_practices.credentials import LOOK, VARIABLE, LoginFile, Logins, LoginStream
from redis_practices.polling import join
from redis_practices.pure_cache import CacheAside, NearCache
from redis_practices.servers import BROKER, CACHE, start_cluster, start_server
from redis_practices.servers.celery import start_worker
from worker import settings

EXAMPLES = """\
  python benchmarks/credentials.py
  python benchmarks/credentials.py --only stream"""

THREADS, PACE, OVERLAP, LATE = 4, 0.005, 1.5, (0.1, 1.0)
REST, RUNS = 0.7, 2
"""Seconds before, between and after rotations, and the number of rotations."""


class OneCallback(LoginFile, StreamingCredentialProvider):
    """A stream as one writes it at first: it keeps one callback, and no error of it."""

    def __init__(self) -> None:
        super().__init__()
        self._callback: Callable[[Any], object] = lambda _: None
        threading.Thread(target=self._tell, daemon=True).start()

    def on_next(self, callback: Callable[[Any], object]) -> None:
        """Keep the callback that came last."""
        self._callback = callback

    def on_error(self, callback: Callable[[Exception], object]) -> None:
        """Do nothing."""

    def is_streaming(self) -> bool:
        """Return True: redis-py registers a callback."""
        return True

    def _tell(self) -> None:
        last = self.get_credentials()
        with suppress(RedisError):  # what ends the thread
            while True:
                time.sleep(LOOK)
                if (login := self.get_credentials()) != last:
                    last = login
                    self._callback(SimpleToken(login[1], -1, time.time() * 1000, {"oid": login[0]}))


@dataclass
class Load:
    """Threads that repeat an operation, and what they saw."""

    action: Callable[[int], object]
    done: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Start."""
        self._over, self._numbers = threading.Event(), count()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._over.wait(PACE):
            try:
                self.action(next(self._numbers))
            except Exception as error:  # noqa: BLE001 - it is what is counted
                self.errors[type(error).__name__] += 1
            else:
                self.done.append(time.monotonic())

    def close(self) -> None:
        """End."""
        self._over.set()
        for thread in self._threads:
            join(thread)

    @property
    def gap(self) -> float:
        """The longest time without an operation that succeeded."""
        return max((later - earlier for earlier, later in pairwise(sorted(self.done))), default=float("inf"))


@dataclass
class Row:
    """A line of the table."""

    way: str
    event: str
    done: str
    errors: str
    gap: str
    cut: str


Way = Callable[[ExitStack, str], Callable[[int], object]]
"""Makes the operation of a client, of an exit stack and of the URL."""


def redis_py(kind: type, maker: Callable[..., Any] = Redis, *, listens: bool = False) -> Way:
    """Return a client of redis-py as it comes, with a subscription if it `listens`."""

    def make(ending: ExitStack, url: str) -> Callable[[int], object]:
        host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
        client = ending.enter_context(maker(host=host, port=int(port), credential_provider=kind()))
        if listens:
            ending.enter_context(client.pubsub()).subscribe("news")
        return lambda number: client.set(f"key:{number % 50}", number)

    return make


def ours(kind: type, maker: Callable[..., Any] = redis_client) -> Way:
    """Return a client of this project."""

    def make(ending: ExitStack, url: str) -> Callable[[int], object]:
        client = ending.enter_context(maker(with_login(url, f"{kind.__module__}.{kind.__name__}")))
        return lambda number: client.set(f"key:{number % 50}", number)

    return make


def cache_aside(ending: ExitStack, url: str) -> Callable[[int], object]:
    """Return a look-aside cache in front of an origin that takes 5 ms."""
    client = ending.enter_context(redis_client(with_login(url, f"{LoginFile.__module__}.LoginFile"), timeout=0.5))
    cache = CacheAside(client, ttl=60)
    return lambda number: cache.get_or_compute(f"key:{number % 5}", lambda: time.sleep(0.005))


def near_cache(ending: ExitStack, url: str) -> Callable[[int], object]:
    """Return a near cache, whose keys another client changes."""
    client = ending.enter_context(redis_client(with_login(url, f"{LoginFile.__module__}.LoginFile")))
    cache = ending.enter_context(NearCache(client, "key:"))
    return lambda number: cache.get(f"key:{number % 5}")


SERVER: dict[str, Way] = {
    "redis-py, a file": redis_py(LoginFile),
    "redis-py, a stream": redis_py(LoginStream),
    "redis-py, a stream with one callback": redis_py(OneCallback),
    "redis-py with a subscription, a stream with one callback": redis_py(OneCallback, listens=True),
    "`redis_client`, a file": ours(LoginFile),
    "`redis_client`, a stream": ours(LoginStream),
    "`CacheAside`, a file": cache_aside,
    "`NearCache`, a file": near_cache,
}
CLUSTER: dict[str, Way] = {
    "redis-py's cluster client, a file": redis_py(LoginFile, RedisCluster),
    "redis-py's cluster client, a stream": redis_py(LoginStream, RedisCluster),
    "`cluster_client`, a file": ours(LoginFile, cluster_client),
    "`cluster_client`, a stream": ours(LoginStream, cluster_client),
}


@contextmanager
def logins_of(nodes: list[Any], folder: Path) -> Iterator[Logins]:
    """Give the first login of the clients of some servers, in the file that the environment names."""
    with ExitStack() as ending:
        logins = Logins([ending.enter_context(node.client()) for node in nodes], folder / "login")
        logins.rotate(0)
        os.environ[VARIABLE] = str(logins.path)
        yield logins


def rotate(logins: Logins, late: float) -> int:
    """Rotate `RUNS` times, with an overlap unless the login is `late`, and return how many connections were closed."""
    closed = 0
    for _ in range(RUNS):
        time.sleep(REST)
        old = list(logins.users)
        if late:
            login = logins.add()
            closed += logins.delete(old)
            time.sleep(late)
            logins.announce(login)
        else:
            closed += logins.rotate(OVERLAP)
    time.sleep(REST + late)
    return closed


def event(late: float) -> str:
    """Return the name of a kind of rotation."""
    return f"late by {late:g} s" if late else "overlap"


def judged(way: str, make: Way, url: str, logins: Logins, late: float) -> Row:
    """Measure a way."""
    with ExitStack() as ending:
        action = make(ending, url)
        action(0)
        load = ending.enter_context(closing(Load(action)))
        cut = rotate(logins, late)
    errors = ", ".join(f"{number} {kind}" for kind, number in load.errors.most_common()) or "0"
    return Row(way, event(late), f"{len(load.done)}", errors, f"{load.gap * 1000:.0f} ms", f"{cut}")


def celery(kind: type, group: ForkingGroup, late: float) -> Row:
    """Measure a worker and a sender."""
    server = start_server(group, BROKER)
    with logins_of([server], server.folder) as logins:
        url = with_login(server.url, f"{kind.__module__}.{kind.__name__}")
        name = f"{kind.__name__}-{late:g}"
        worker = start_worker(group, url, name, worker_environment({VARIABLE: str(logins.path)}))
        app, sent, errors = sender(settings(url)), list[Any](), Counter[str]()
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.04):
                try:
                    sent.append(app.send_task("worker.stamp", [0.03], retry=False))
                except Exception as error:  # noqa: BLE001 - it is what is counted
                    errors[type(error).__name__] += 1

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        cut = rotate(logins, late)
        over.set()
        join(thread)
        missing = 0
        for result in sent:
            try:
                value_of(result, 15.0)
            except Exception:  # noqa: BLE001 - the same
                missing += 1
        with server.client() as client:
            runs = [len(moments) for moments in runs_of_each(client, sent)]
        number_sent = len(sent)
        result = None
        sent.clear()
        gc.collect()  # each result ends its subscription, for which it needs a login
        app.close()
        worker.kill()
    seen = ", ".join(f"{number} {kind}" for kind, number in errors.most_common()) or "0"
    twice = sum(number > 1 for number in runs)
    done = f"{number_sent - missing} of {number_sent} tasks, {twice} of them twice"
    way = f"Celery, {'a stream' if kind is LoginStream else 'a file'}"
    return Row(way, event(late), done, seen, "not measured", f"{cut}")


def renewed(group: ForkingGroup) -> Row:
    """Measure a client behind TLS while the certificate becomes one of a new authority, twice."""
    server = start_server(group, CACHE)
    with closing(TlsProxy(server.folder)) as proxy, ExitStack() as ending:
        url = f"rediss://{proxy.before(server.port)}?ssl_ca_certs={proxy.ca_file}"
        client = ending.enter_context(redis_client(url))
        load = ending.enter_context(closing(Load(lambda number: client.set(f"key:{number % 50}", number))))
        for _ in range(RUNS):
            time.sleep(REST)
            proxy.renew()
        time.sleep(REST)
    errors = ", ".join(f"{number} {kind}" for kind, number in load.errors.most_common()) or "0"
    return Row("`redis_client`, TLS", "new authority", f"{len(load.done)}", errors, f"{load.gap * 1000:.0f} ms", "all")


def measured(only: str) -> Iterator[Row]:
    """Yield the lines whose way contains `only`."""
    for late in (0.0, *LATE):
        with ForkingGroup() as group:
            server = start_server(group, CACHE)
            with logins_of([server], server.folder) as logins:
                yield from (judged(way, make, server.url, logins, late) for way, make in SERVER.items() if only in way)
        with ForkingGroup() as group:
            cluster = start_cluster(group, replicas=0)
            with logins_of(cluster.nodes, group.folder) as logins:
                yield from (
                    judged(way, make, cluster.url, logins, late) for way, make in CLUSTER.items() if only in way
                )
        for kind in (LoginFile, LoginStream):
            if only in f"Celery, {kind.__name__}":
                with ForkingGroup() as group:
                    yield celery(kind, group, late)
    if only in "TLS":
        with ForkingGroup() as group:
            yield renewed(group)


def main() -> None:
    """Print the table."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--only", metavar="TEXT", default="", help="ways that contain this text")
    options = parser.parse_args()
    print(
        "| client | rotation | done | errors | longest gap | connections closed |",
        "|---|---|--:|---|--:|--:|",
        sep="\n",
    )
    for row in measured(options.only):
        progress()
        print(f"| {row.way} | {row.event} | {row.done} | {row.errors} | {row.gap} | {row.cut} |", flush=True)
    print(caption())


if __name__ == "__main__":
    run(main)
