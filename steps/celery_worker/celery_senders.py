"""The sentences about senders whose broker does not take what they send."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, then

from fixtures import PROJECT
from fixtures.run.forks import ForkingGroup
from redis_practices.celery_worker.sending import publish, publisher
from redis_practices.cli import Failure
from redis_practices.servers.binary import free_ports
from redis_practices.servers.server import BROKER
from steps.common.vocabulary import TYPES
from worker import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Private

TIMEOUT = 2.0
"""Seconds that senders are given here."""

SOURCES = PROJECT / "src"


@given(parsers.cfparse("a broker that {trouble}"), target_fixture="broker_url")
def have_bad_broker(private: Private, trouble: str) -> str:
    """Have the address of a broker that takes no tasks."""
    if trouble == "is down":
        return f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    troubles: dict[str, dict[str, Any]] = {
        "is full": {"maxmemory": 1},
        "wants another password": {"requirepass": "other"},
    }
    config = troubles.get(trouble, {})
    if trouble == "is a replica":
        config["replicaof"] = private.server(BROKER).address.split(":")
    server = private.server({**BROKER, **config})
    if trouble == "hangs":
        server.pause()
    return server.url.replace(":other@", ":guessed@")


@then(parsers.cfparse('publishing a task fails {bound:Bound} with "{words}"', extra_types=TYPES))
def check_publish(broker_url: str, words: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require one line that says why, in time."""
    begun = time.monotonic()
    with pytest.raises(Failure) as caught:
        publish(publisher(settings, broker_url, TIMEOUT), "worker.add", [4, 8])
    measure("publish fails after", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
    check_line(str(caught.value), words)


@then(parsers.cfparse('send_task.py fails {bound:Bound} with "{words}"', extra_types=TYPES))
def check_script(broker_url: str, words: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require the same of the script, as a user calls it."""
    with ForkingGroup() as group:
        begun, log = time.monotonic(), group.folder / "said"
        # As a fork, so that its start, which takes seconds on a busy machine, is no part of what is measured.
        child = group.start_python(
            "send_task", ["--timeout", str(TIMEOUT)], log, cwd=SOURCES, env={**os.environ, "BROKER_URL": broker_url}
        )
        code = child.wait(60.0)
        measure("send_task.py fails after", unit="s", bound=bound, seen=round(time.monotonic() - begun, 3))
        said = log.read_text()
    assert code == 1, f"it ends with exit code {code}: {said}"
    check_line(said.strip(), words)


def check_line(said: str, words: str) -> None:
    """Require one line with these words that gives no password away."""
    assert words in said, f"it says: {said}"
    assert "\n" not in said, f"it says more than a line: {said}"
    assert "guessed" not in said, "it gives the password away"
