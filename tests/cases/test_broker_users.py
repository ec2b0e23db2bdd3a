"""Test users and passwords of workers: a separate database, sentinels with a password."""

from __future__ import annotations

import pytest

from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker.access import rules
from redis_practices.celery_worker.sending import sender
from redis_practices.servers.celery import READY, WorkerProcess
from redis_practices.servers.server import BROKER, NAME, Sentinel, start_server
from send_task import call
from tests.cases.bench import Bench
from tests.cases.preparing import prepared
from worker import settings

PASSWORD = "s3cret"  # noqa: S105 - of servers that live as long as a test

CANNOT = "Cannot connect"
"""The log lines of a worker without access to its broker."""


def is_ready(worker: WorkerProcess) -> None:
    """Require that a worker consumes, once its log shows success or an error."""
    prepared(lambda: any(word in worker.log_tail(200) for word in (READY, CANNOT)))
    assert CANNOT not in worker.log_tail(200), worker.log_tail(3)


@pytest.mark.parametrize("database", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_worker_with_the_rights_of_the_broker_user(bench: Bench, group: ForkingGroup, database: int) -> None:
    """A worker with the rights of `broker_user` consumes from its database."""
    bench.client.execute_command("ACL", "SETUSER", "celery", "on", f">{PASSWORD}", *rules("app1:", database))
    url = f"redis://celery:{PASSWORD}@{bench.server.address}/{database}"
    is_ready(WorkerProcess(group, url, "worker", {"KEY_PREFIX": "app1:"}))


@pytest.mark.slow
@pytest.mark.parametrize("password", ["", PASSWORD], ids=["open", "password"])
def test_worker_with_sentinels_that_want_a_password(
    group: ForkingGroup, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker and a sender find the primary through sentinels with a password."""
    primary = start_server(group, {**BROKER, "requirepass": PASSWORD, "masterauth": PASSWORD})
    sentinel = Sentinel(
        group,
        {
            **({"requirepass": password} if password else {}),
            "sentinel monitor": [NAME, "127.0.0.1", str(primary.port), "1"],
            "sentinel auth-pass": [NAME, PASSWORD],
            "sentinel down-after-milliseconds": [NAME, "1000"],
        },
    )
    sentinel.wait_ready()
    found = {"SENTINEL_PRIMARY": NAME, "SENTINEL_PASSWORD": password}
    url = f"sentinel://:{PASSWORD}@{sentinel.address}/0"
    is_ready(WorkerProcess(group, url, "worker", found))
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert call(sender(settings(url)), "worker.add", 4, 8) == 12
