"""Settings of the server that are said to make it fast or slow; what they do depends on disk, processors and engine.

Nothing here is a recommendation by itself: an append-only file costs what its disk costs, and threads for input and
output pay on machines with processors to spare, for many clients with large values. On two processors four such threads
took Redis 7.0 to a fiftieth of its speed, since they spin while they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from redis import Redis

from redis_practices.servers.embedded import Config
from redis_practices.tuning.lab import PLAIN, Servers
from redis_practices.tuning.load import RawReads

Work = Callable[[], object]

NOT_WRITTEN: Config = PLAIN
"""Naive or not: nothing is on disk, and all is gone with the process."""

LEFT_TO_SYSTEM: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "no"}
"""The system writes when it likes: half a minute is lost with the machine, nothing with the process."""

EACH_SECOND: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "everysec"}
"""What most want: a second is lost with the machine."""

EACH_WRITE: Config = {**PLAIN, "appendonly": "yes", "appendfsync": "always"}
"""Nothing that was acknowledged is lost; every client waits for the disk."""

ONE_THREAD: Config = PLAIN
THREADS: Config = {**PLAIN, "io-threads": 2}


def writing_with(settings: Config, servers: Servers) -> Work:
    """Start a server with these settings and return 100 single writes to it."""
    return partial(write_each, servers.server(settings).client())


def write_each(client: Redis, number: int = 100) -> None:
    """Write values of 100 bytes one after the other."""
    for index in range(number):
        client.set(f"persisted:{index % 10}", "x" * 100)


def reading_with(settings: Config, servers: Servers) -> Work:
    """Start a server with these settings and return 4000 reads of it that cost the client nearly nothing."""
    client = servers.server(settings).client()
    keys = [f"read:{index}" for index in range(200)]
    client.mset(dict.fromkeys(keys, "x" * 1000))
    reads = RawReads([(client, keys)], size=1000)
    return lambda: [reads() for _ in range(10)]


def over_tcp(servers: Servers) -> Work:
    """Naive or not: 200 single reads over the loopback."""
    client = servers.server(PLAIN).client()
    return lambda: [client.get("key") for _ in range(200)]


def over_unix_socket(servers: Servers) -> Work:
    """Tuned, it is said: the same over a unix socket."""
    path = "server.sock"
    server = servers.server({**PLAIN, "unixsocket": path})
    client = Redis(unix_socket_path=str(server.folder / path), decode_responses=True)
    return lambda: [client.get("key") for _ in range(200)]
