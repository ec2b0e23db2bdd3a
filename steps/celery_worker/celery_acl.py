"""The sentences about the user of least privilege."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest
from celery.exceptions import CeleryError
from celery.exceptions import TimeoutError as NoAnswerError
from kombu.exceptions import KombuError
from pytest_bdd import given, parsers, then, when
from redis.exceptions import NoPermissionError, RedisError

from fixtures.celery_worker.client import CeleryWork, let_go
from redis_practices.celery_worker.security import RIGHTS, rules
from redis_practices.celery_worker.sending import publisher
from redis_practices.servers.binary import EmbeddedError
from steps.celery_worker.celery_application import SWEEP
from steps.common.vocabulary import rows
from worker import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery.result import AsyncResult

    from fixtures.celery_worker.client import Sent
    from fixtures.stacks.embedded import EmbeddedBroker
    from fixtures.stacks.protocols import Private

USER, PASSWORD = "celery", "secret"


def broker_with_user(private: Private, prefix: str, without: str = "") -> EmbeddedBroker:
    """Return a broker that workers and senders reach as that user only; it may lack one of its rights."""
    settings = {"KEY_PREFIX": prefix, "WORKER_CONCURRENCY": "1", "VISIBILITY_TIMEOUT": "1", **SWEEP}
    broker = cast("EmbeddedBroker", private.broker(None, workers=0, **settings))
    with broker.client() as admin:
        granted = [rule for rule in rules(prefix) if rule not in (without, f"+{without}")]
        admin.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", *granted)
        admin.config_resetstat()
    broker.url = f"redis://{USER}:{PASSWORD}@{broker.node.address}/0"
    return broker


@given(
    parsers.cfparse('a broker of its own, and a user with the rights of src/broker_user.py on "{prefix}"'),
    target_fixture="broker",
)
def have_user(private: Private, prefix: str, monkeypatch: pytest.MonkeyPatch) -> EmbeddedBroker:
    """Have a broker that workers and senders reach as that user only."""
    # The sender reads its settings in this process.
    monkeypatch.setenv("KEY_PREFIX", prefix)
    return broker_with_user(private, prefix)


@when("a worker with that user does all of this")
def do_all(broker: EmbeddedBroker, sent: Sent, datatable: Sequence[Sequence[str]]) -> None:
    """Do all that Celery does on a broker, each row once."""
    broker.start_worker()
    acts = CeleryWork(broker, sent.app, sent.results, patience=15.0).acts()
    for row in rows(datatable, ("WORK",)):
        try:
            acts[row["WORK"]]()
        except NoAnswerError as error:
            said = broker.workers[-1].log_tail(10)
            raise AssertionError(f"{row['WORK']}: no answer in time; the last worker says\n{said}") from error


@then("the broker refused none of its commands")
def check_none_refused(broker: EmbeddedBroker) -> None:
    """Require that the server denied nothing (``ACL LOG``)."""
    with broker.client() as admin:
        refused = [f"{entry['reason']} {entry['object']}" for entry in admin.acl_log()]
    # redis-py introduces itself where it may; Redis 6.2 knows no subcommands here.
    refused = [command for command in refused if command not in ("command client|setinfo", "command client")]
    assert not refused, f"it refused {refused}"


@then("every right was used")
def check_all_used(broker: EmbeddedBroker) -> None:
    """Require that every command of the user's rights was called (``INFO commandstats``)."""
    with broker.client() as admin:
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    rights = {command for group in RIGHTS.values() for command in group}
    # Before Redis 7.0 a server did not count subcommands apart.
    unused = sorted(right for right in rights - used if right.partition("|")[0] not in used)
    assert not unused, f"nothing used {unused}"


@then(parsers.cfparse('of the rights on "{prefix}" each is needed: without it, this fails'))
def check_each_right(
    private: Private, prefix: str, monkeypatch: pytest.MonkeyPatch, datatable: Sequence[Sequence[str]]
) -> None:
    """Take each right away from a user of its own, and require that the broker refuses it and the work fails."""
    monkeypatch.setenv("KEY_PREFIX", prefix)
    table = rows(datatable, ("RIGHT", "WORK"))
    assert sorted(row["RIGHT"] for row in table) == sorted(
        rule.removeprefix("+") for rule in rules(prefix) if rule[0] in "+~&"
    )
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda row: missing(private, prefix, row["RIGHT"], row["WORK"]), table))
    wrong = [problem for problem in seen if problem]
    assert not wrong, "\n".join(wrong)


def missing(private: Private, prefix: str, right: str, work: str) -> str:
    """Do some work without a right; return what is wrong if it succeeds, or fails for another reason, else nothing."""
    broker = broker_with_user(private, prefix, without=right)
    failure = attempt(broker, work)
    kind, name = {"~": ("key", ""), "&": ("channel", "")}.get(right[0], ("command", right))
    with broker.client() as admin:
        refused = [(entry["reason"], entry["object"]) for entry in admin.acl_log()]
    if failure is None:
        return f"without {right}, {work} does not fail; the broker refused {refused}"
    if not any(reason == kind and name in ("", what) for reason, what in refused):
        return f"without {right}, {work} fails, but the broker refused {refused}: {failure}"
    return ""


def attempt(broker: EmbeddedBroker, work: str) -> Exception | None:
    """Do some work, with a worker where it needs one, and return how it fails."""
    app = publisher(settings, broker.url, 2.0)
    results: list[AsyncResult] = []
    try:
        if work != "sending a task":
            broker.start_worker()
        CeleryWork(broker, app, results, patience=3.0).acts()[work]()
    except (CeleryError, KombuError, RedisError, EmbeddedError, AssertionError, RuntimeError) as error:
        return error
    finally:
        for worker in broker.workers:
            worker.kill()
        for result in results:
            let_go(result)
        app.close()
    return None


@then(parsers.cfparse('the user is refused "{command}"'))
def check_refused(broker: EmbeddedBroker, command: str) -> None:
    """Require that the user may not run a command."""
    with broker.node.client(username=USER, password=PASSWORD) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())
