"""Test that redis-py still has the private names in use, and that no module uses another one.

`NearCache` hears of changes by ``connection._get_parser().set_invalidation_push_handler``. If a test here fails after
an upgrade of redis-py, see https://github.com/redis/redis-py/issues/3087 for a new way. `tuning.bulk` uses ``_sock``
and ``_get_parser``; without them it is correct, but slow. The external stack limits answers by ``_connect``;
`test_hostile.py` tests that. By the same name TLS connections share a context.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.cache import CacheConfig
from redis.exceptions import ConnectionError as RedisConnectionError

from fixtures import PROJECT
from fixtures.proxies.streams import LoopThread, TlsProxy, commands_of
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import redis_client, tls_context
from redis_practices.servers.server import CACHE, Server, start_server
from redis_practices.tuning import bulk

BULK = "src/redis_practices/tuning/bulk.py"
NEAR_CACHE = "src/redis_practices/pure_cache/near_cache.py"
COMMAND_GUARD = "fixtures/stacks/external/command_guard.py"
CLIENTS = "src/redis_practices/clients.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a cache."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE)


HEARD = """
import sys
if sys.argv[2] == "python":
    sys.modules["hiredis"] = None  # as where it is not installed
from redis import Redis

other = Redis(port=int(sys.argv[1]))
connection = other.connection_pool.make_connection()
connection.connect()

heard = []
connection._get_parser().set_invalidation_push_handler(lambda notice: heard.append(notice) or notice)

connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "user:")
assert connection.read_response() == b"OK"

other.set("user:1", "value")
connection.read_response(push_request=True, timeout=5)

other.flushall()
connection.read_response(push_request=True, timeout=5)
print(type(connection._get_parser()).__name__, heard)
"""


@pytest.mark.parametrize(("parser", "name"), [("python", "_RESP3Parser"), ("compiled", "_HiredisParser")])
def test_handler_hears_of_changes(server: Server, parser: str, name: str) -> None:
    """Both parsers of redis-py pass the changed key to the handler, and None after a flush."""
    command = [sys.executable, "-c", HEARD, str(server.port), parser]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert not done.stderr, done.stderr
    assert done.stdout.strip() == f"{name} [[b'invalidate', [b'user:1']], [b'invalidate', None]]"


@pytest.mark.parametrize("kind", ["plain redis-py", "RESP2", "RESP3", "TLS", "a socket file"])
def test_bulk_uses_the_socket(tmp_path: Path, kind: str) -> None:
    """Bulk commands go through the socket of each kind of connection; hiredis has the length that they need."""
    file = tmp_path / "socket"
    with ForkingGroup() as group, closing(TlsProxy(tmp_path)) as proxy:
        server = start_server(group, {**CACHE, "unixsocket": str(file)})
        clients: dict[str, Callable[[], Redis]] = {
            "plain redis-py": lambda: Redis(port=server.port),
            "RESP2": lambda: redis_client(f"{server.url}?protocol=2"),
            "RESP3": lambda: redis_client(server.url),
            "TLS": lambda: redis_client(f"rediss://{proxy.before(server.port)}?ssl_ca_certs={proxy.ca_file}"),
            "a socket file": lambda: Redis(unix_socket_path=str(file)),
        }
        with clients[kind]() as client:
            connection: Any = client.connection_pool.get_connection()
            assert bulk.is_direct(connection)
            client.connection_pool.release(connection)
            assert bulk.pipelined(client, [("SET", "a", 1), ("INCR", "a")])[1] == 2
    assert bulk.LENGTH_IS_REST


def test_tls_connections_share_a_context(tmp_path: Path) -> None:
    """Connections with the same options share a context; others have their own, and refuse a foreign certificate."""
    with ForkingGroup() as group, closing(TlsProxy(tmp_path)) as proxy:
        url = f"rediss://{proxy.before(start_server(group, CACHE).port)}"
        tls_context.cache_clear()
        for _ in range(5):
            with redis_client(f"{url}?ssl_ca_certs={proxy.ca_file}") as client:
                assert client.ping()
        used = tls_context.cache_info()
        # A period of `CONTEXT_SECONDS` may begin meanwhile.
        assert used.hits + used.misses == 5 and used.misses < 3, used  # noqa: PT018
        with redis_client(url) as client, pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            client.ping()


def private_names(path: Path) -> Iterator[str]:
    """Yield the private names of redis-py that a module reads, and the attributes that it sets on packages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "redis":
            yield from (
                name for name in (*str(node.module).split("."), *(a.name for a in node.names)) if name[0] == "_"
            )
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("redis.") and "._" in alias.name)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            yield f"setattr in line {node.lineno}"
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE and not is_own(node.value):
            yield node.attr


PRIVATE = {"_get_parser", "_parser", "_sock", "_command_packer", "_reader", "_writer", "_conn", "_stream", "_connect"}
"""The attributes of redis-py's connections and parsers."""


def is_own(value: Any) -> bool:
    """Tell whether an attribute belongs to the object itself."""
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def test_renewed_certificates_are_read(tmp_path: Path) -> None:
    """A connection after the renewal of the authority's file trusts the new authority at once."""
    with ForkingGroup() as group:
        port = start_server(group, CACHE).port
        for _ in range(2):
            with closing(TlsProxy(tmp_path)) as proxy:
                url = f"rediss://{proxy.before(port)}?ssl_ca_certs={proxy.ca_file}"
                with redis_client(url) as client:
                    assert client.ping()


def test_no_module_uses_another_private_name() -> None:
    """Only four modules use a private name, and nothing is set on a package."""
    found = {}
    for folder in ("src", "fixtures", "steps", "benchmarks"):
        for path in Path(PROJECT, folder).rglob("*.py"):
            if names := list(private_names(path)):
                found[path.relative_to(PROJECT).as_posix()] = names
    assert found == {
        NEAR_CACHE: ["_get_parser"],
        COMMAND_GUARD: ["_connect"],
        CLIENTS: ["_connect", "_conn", "_connect"],
        BULK: ["_sock", "_get_parser"],
    }


async def _as_redis_8(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reply as a server of a release that redis-py's cache accepts."""
    replies = {b"HELLO": b"%3\r\n+server\r\n+redis\r\n+version\r\n+8.4.0\r\n+proto\r\n:3\r\n", b"GET": b"+value\r\n"}
    async for commands in commands_of(reader):
        writer.write(b"".join(replies.get(command[0], b"+OK\r\n") for command in commands))
    writer.close()


def test_cache_of_redis_py_works_with_our_pool() -> None:
    """The pool finds its own connection behind the one of redis-py's cache."""
    with closing(LoopThread()) as loop:
        url = f"redis://127.0.0.1:{loop.listen(_as_redis_8)}?protocol=3"
        with redis_client(url, cache_config=CacheConfig()) as client:
            assert [client.get("key"), client.get("key")] == ["value", "value"]
