"""Faults that are made in the files of a server."""

from __future__ import annotations

import shutil
from contextlib import suppress

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.servers.server import Server
from tests.cases.preparing import prepared


def spoil_log(server: Server) -> None:
    """Put a file where a server keeps its append-only files, so that none can be written anew."""
    shutil.rmtree(server.folder / "appendonlydir")
    (server.folder / "appendonlydir").write_text("")
    with server.client() as client:
        prepared(lambda: _rewrite_failed(client))


def _rewrite_failed(client: Redis) -> bool:
    """Ask for a rewrite of the append-only file, and tell whether the last one failed."""
    with suppress(ResponseError):  # one is at work, or cannot begin
        client.bgrewriteaof()
    return bool(client.info("persistence")["aof_last_bgrewrite_status"] == "err")
