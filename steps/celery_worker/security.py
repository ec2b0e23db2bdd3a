"""The sentences about ACL users, signed tasks and TLS."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from celery.exceptions import CeleryError
from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult
from kombu.exceptions import KombuError
from pytest_bdd import given, parsers, then, when
from redis.exceptions import NoPermissionError, RedisError

from fixtures import PROJECT
from fixtures.celery_worker.client import CeleryWork, Sent, let_go
from fixtures.proxies.streams import TlsProxy
from fixtures.reporting.measurements import Bound
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.embedded import EmbeddedBroker
from fixtures.stacks.protocols import Broker, Private
from redis_practices.celery_worker.security import RIGHTS, rules
from redis_practices.celery_worker.sending import check_broker, publisher, sender
from redis_practices.cli import Failure
from redis_practices.servers.binary import EmbeddedError
from steps.celery_worker.deployment import SWEEP
from steps.celery_worker.tasks import TASK_TYPES
from steps.common.vocabulary import TYPES, rows
from worker import settings

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
            said = broker.workers()[-1].log_tail(10)
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
        for worker in broker.workers():
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


@given("a broker with a worker that accepts only signed tasks", target_fixture="broker")
def have_signed_broker(private: Private, signing_folder: Path) -> Broker:
    """Have a worker that trusts one certificate."""
    return private.broker(workers=1, SIGNING_FOLDER=str(signing_folder))


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments} and signed', extra_types=TASK_TYPES))
def send_signed(broker: Broker, sent: Sent, signing_folder: Path, task: str, given: list[object]) -> None:
    """Send a task with Celery's own command, since signing changes a whole process."""
    # The command takes "json" as its own default, whatever the settings say.
    call = ("call", f"worker.{task}", "--args", json.dumps(given), "--serializer", "auth")
    settings = {"BROKER_URL": broker.url, "SIGNING_FOLDER": str(signing_folder)}
    with ForkingGroup() as group:
        log, source = group.folder / "said", PROJECT / "src"
        arguments = ["-A", "worker", *call]
        code = group.start_python("celery", arguments, log, cwd=source, env={**os.environ, **settings}).wait(30.0)
        said = log.read_text()
    assert code == 0, f"it ends with exit code {code}: {said}"
    sent.results.append(AsyncResult(said.split()[-1], app=sent.app))


@given("a server of its own behind TLS")
def have_proxy(address: str) -> None:
    """Have a server that is reached through TLS."""
    assert address


@given("a broker of its own behind TLS", target_fixture="broker")
def have_tls_broker(plain_broker: Any, proxy: TlsProxy, address: str) -> Broker:
    """Have a worker and senders that reach their broker through TLS only."""
    # The URL is the same for tasks and results; Celery's results insist on ssl_cert_reqs.
    plain_broker.url = f"rediss://{address}/0?ssl_cert_reqs=required&ssl_ca_certs={proxy.ca_file}"
    plain_broker.start_worker()
    broker: Broker = plain_broker
    return broker


@then("every client of the broker came through TLS")
def check_clients(broker: Broker, proxy: TlsProxy) -> None:
    """Require that all connections are those of the proxy (``CLIENT LIST``), but for the one that asks."""
    with broker.client() as client:
        own = client.client_id()
        ports = {int(other["addr"].rpartition(":")[2]) for other in client.client_list() if int(other["id"]) != own}
    assert ports, "nobody is connected"
    assert ports <= proxy.upstream_ports, f"{len(ports - proxy.upstream_ports)} connections are not the proxy's"


@when(parsers.cfparse('a sender connects with {scheme} and "{options}"'), target_fixture="told")
def connect(proxy: TlsProxy, address: str, scheme: str, options: str) -> tuple[str, float]:
    """Send as ``send_task.py`` does, and return what the sender is told, and after how many seconds."""
    options = options.removeprefix("none").replace("CA", str(proxy.ca_file))
    url = f"{scheme}://{address}/0{options}"
    begun = time.monotonic()
    with pytest.raises((Failure, ValueError)) as caught:
        _send(url)
    return str(caught.value), time.monotonic() - begun


def _send(url: str) -> None:
    """Ask the broker, then send a task."""
    check_broker(url, timeout=4.0)
    sender(settings(url, 4.0)).send_task("worker.add", [4, 8])


@then(parsers.cfparse('it is told "{reason}" {bound:Bound}', extra_types=TYPES))
def check_told(told: tuple[str, float], reason: str, bound: Bound, measure: Callable[..., None]) -> None:
    """Require the reason, and that it came in time."""
    message, seconds = told
    assert reason in message, f"it is told: {message}"
    measure("told after", unit="s", bound=bound, seen=round(seconds, 3))
