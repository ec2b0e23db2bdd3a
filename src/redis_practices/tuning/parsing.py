"""A compiled parser for answers: redis-py uses hiredis by itself as soon as it is installed (``redis[hiredis]``).

Pays for answers of many items, which cost the client far more than the server. On single reads it gains some percent,
since the rest of redis-py costs more than parsing one value. Not where nothing can be compiled or installed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import hiredis
from redis import ConnectionPool, Redis
from redis._parsers import _RESP2Parser
from redis._parsers.encoders import Encoder

from redis_practices.tuning.connecting import address


def parse_in_python(answer: bytes) -> Any:
    """Naive: read an answer as redis-py does without hiredis."""
    source = io.BytesIO(answer)
    parser = _RESP2Parser(socket_read_size=65536)
    connection = SimpleNamespace(_sock=SimpleNamespace(recv=source.read), socket_timeout=None)
    parser.on_connect(SimpleNamespace(**vars(connection), encoder=Encoder("utf-8", "strict", decode_responses=True)))
    return parser.read_response()


def parse_compiled(answer: bytes) -> Any:
    """Tuned: read it by hiredis."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(answer)
    return reader.gets()


def raw_answer(server: Redis, *command: str) -> bytes:
    """Return the bytes that a server answers, as they come over the wire (RESP2); the last ones end the answer."""
    pool = ConnectionPool(protocol=2, **address(server))
    connection: Any = pool.get_connection()
    connection.send_command(*command)
    # What follows the answer tells its end: nothing else in it looks like this.
    connection.send_command("ECHO", END)
    received = b""
    while not received.endswith(END.encode() + b"\r\n"):
        received += connection._sock.recv(65536)  # noqa: SLF001 - redis-py has no public way to the bytes
    connection.disconnect()
    pool.release(connection)
    return received[: received.rindex(b"$")]


END = "that was the answer"


def without_hiredis(server: Redis, keys: Sequence[str]) -> list[Any]:
    """Naive: read key after key by a client whose parser is Python."""
    pool = ConnectionPool(protocol=2, parser_class=_RESP2Parser, **address(server))
    with Redis(connection_pool=pool) as client:
        values = [client.get(key) for key in keys]
    pool.disconnect()
    return values
