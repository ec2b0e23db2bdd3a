"""The sentences about the user of least privilege."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import chord
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as NoAnswerError
from pytest_bdd import given, parsers, then, when
from redis.exceptions import NoPermissionError

from broker_user import RIGHTS, rules
from steps.celery_tasks import send
from steps.celery_workflows import task
from steps.vocabulary import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedded_worker import WorkerProcess
    from fixtures.deployments import Private
    from fixtures.embedded_stack import EmbeddedBroker
    from steps.celery_worker import Sent

USER, PASSWORD = "celery", "secret"


@given(
    parsers.cfparse('a broker of its own, and a user with the rights of src/broker_user.py on "{prefix}"'),
    target_fixture="broker",
)
def have_user(private: Private, prefix: str, monkeypatch: pytest.MonkeyPatch) -> EmbeddedBroker:
    """Have a broker that workers and senders reach as that user only."""
    monkeypatch.setenv("KEY_PREFIX", prefix)
    broker: Any = private.broker(workers=0, KEY_PREFIX=prefix, WORKER_POOL="prefork", VISIBILITY_TIMEOUT="1")
    with broker.client() as admin:
        admin.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules(prefix))
        admin.config_resetstat()
    broker.url = f"redis://{USER}:{PASSWORD}@{broker.node.address}/0"
    return broker


def _returned(sent: Sent, name: str, *arguments: Any, **options: Any) -> Any:
    """Send a task and return its result."""
    send(sent, name, arguments, **options)
    return sent.results[-1].get(timeout=15.0)


def _forget(sent: Sent) -> None:
    """Delete the result of the first task."""
    sent.results[0].forget()


def _end(sent: Sent) -> None:
    """End a task that runs."""
    send(sent, "sleep", [30])
    sent.app.control.revoke(sent.results[-1].id, terminate=True)
    with pytest.raises(TaskRevokedError):
        sent.results[-1].get(timeout=15.0)


def _deliver_again(sent: Sent, broker: EmbeddedBroker) -> None:
    """Kill the worker while it runs a task, and let another find it when its visibility timeout is over."""
    send(sent, "sleep", [1.0])
    with broker.client() as admin:
        while not admin.hlen("app1:unacked"):
            time.sleep(0.01)
    broker.workers[-1].kill()
    time.sleep(1.2)
    broker.start_worker()
    sent.results[-1].get(timeout=15.0)


@when("a worker with that user does all of this")
def do_all(broker: EmbeddedBroker, sent: Sent, datatable: Sequence[Sequence[str]]) -> None:
    """Do all that Celery does on a broker, each row once."""
    worker: WorkerProcess = broker.start_worker()
    members = [task(sent, "add", 1, 1), task(sent, "add", 2, 2)]
    work = {
        "a task with a result": lambda: _returned(sent, "add", 4, 8),
        "a task that returns its message to the queue": lambda: _returned(sent, "refuse", 1),
        "a task that is due later": lambda: _returned(sent, "add", 4, 8, countdown=0.1),
        "a result that is forgotten": lambda: _forget(sent),
        "a chord": lambda: chord(members, task(sent, "total")).apply_async().get(timeout=15.0),
        "an answer to a ping": lambda: sent.app.control.ping([worker.name], timeout=15.0),
        "a task that is ended": lambda: _end(sent),
        "a task of a worker that was killed": lambda: _deliver_again(sent, broker),
    }
    for row in rows(datatable, ("WORK",)):
        try:
            assert work[row["WORK"]]() != [], f"{row['WORK']}: nothing came"
        except NoAnswerError as error:
            said = broker.workers[-1].log_tail(10)
            raise AssertionError(f"{row['WORK']}: no answer in time; the last worker says\n{said}") from error


@then("the broker refused none of its commands")
def check_none_refused(broker: EmbeddedBroker) -> None:
    """Require that the server denied nothing (``ACL LOG``)."""
    with broker.client() as admin:
        refused = [f"{entry['reason']} {entry['object']}" for entry in admin.acl_log()]
    # redis-py introduces itself where it may, and newer servers than others know that command.
    refused = [command for command in refused if command != "command client|setinfo"]
    assert not refused, f"it refused {refused}"


@then("every right was used")
def check_all_used(broker: EmbeddedBroker) -> None:
    """Require that every command of the user's rights was called (``INFO commandstats``)."""
    with broker.client() as admin:
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    unused = sorted({command for group in RIGHTS.values() for command in group} - used)
    assert not unused, f"nothing used {unused}"


@then(parsers.cfparse('the user is refused "{command}"'))
def check_refused(broker: EmbeddedBroker, command: str) -> None:
    """Require that the user may not run a command."""
    with broker.node.client(username=USER, password=PASSWORD) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())
