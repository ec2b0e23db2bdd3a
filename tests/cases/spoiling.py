"""Create faults in the files of a server."""

from __future__ import annotations

import shutil
from contextlib import suppress

from redis import Redis
from redis.exceptions import ResponseError

from redis_practices.servers.server import Server
from tests.cases.preparing import prepared


def spoil_log(server: Server) -> None:
    """Block the folder of append-only files, so that a rewrite fails."""
    shutil.rmtree(server.folder / "appendonlydir")
    (server.folder / "appendonlydir").write_text("")
    with server.client() as client:
        prepared(lambda: _rewrite_failed(client))


def _rewrite_failed(client: Redis) -> bool:
    """Request a rewrite of the append-only file, and tell whether the last one failed."""
    with suppress(ResponseError):  # a rewrite is running, or cannot begin
        client.bgrewriteaof()
    return bool(client.info("persistence")["aof_last_bgrewrite_status"] == "err")
