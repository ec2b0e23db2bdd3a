"""The sentences about a cache that starts again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures.reporting.measurements import Bound
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_practices.servers.server import Server


@when("the server is killed and started again")
def restart(server: Server) -> None:
    """End it with SIGKILL and start it with the same data folder."""
    server.kill()
    server.restart()


@then(
    parsers.cfparse(
        "it is empty, and nothing was on disk; it answered {bound:Bound} after its start", extra_types=TYPES
    )
)
def check_empty(server: Server, bound: Bound, measure: Callable[..., None]) -> None:
    """Require an empty server and an empty data folder, and time another restart."""
    begun = time.monotonic()
    server.restart()
    measure("restart", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    with server.client() as client:
        assert client.dbsize() == 0, f"{client.dbsize()} keys came back"
    files = {path.name for path in server.folder.iterdir()} - {"log", "server.conf"}
    assert not files, f"the server left on disk: {', '.join(sorted(files))}"
