"""Sentences about the broker: its queue, sentinels, TLS, a user with few rights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import not_
from typing import Any

import pytest
from celery.exceptions import CeleryError
from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult
from kombu.exceptions import KombuError
from pytest_bdd import given, parsers, when
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from fixtures.bdd.vocabulary import records, register
from fixtures.celery_worker.workers import Operations, let_go
from fixtures.context import Context, Plan, Seen, target
from fixtures.run.keys import Unsupported
from fixtures.stacks.external.deployments import on_server
from fixtures.stacks.protocols import Broker
from redis_practices.celery_worker.access import RIGHTS, rules
from redis_practices.celery_worker.sending import publisher
from redis_practices.polling import poll
from redis_practices.servers.server import BROKER, NAME, EmbeddedError, sentinel_url
from steps.celery_worker.tasks import Tasks, queue_length, setting
from steps.common.deployments import ServerUnderTest
from steps.common.vocabulary import Table, rows, seconds
from worker import settings

setting("payment lease", "the time that one run of a payment may take (`once`)", seconds, variable="ONCE_LEASE")
setting("restore interval", "the time between two looks for tasks to restore", seconds, variable="RESTORE_INTERVAL")
setting("restore throttle", "turns of a worker for each look for unacknowledged tasks", variable="RESTORE_THROTTLE")
setting("soft shutdown timeout", "the time of tasks after a cold shutdown began", seconds, variable="SOFT_SHUTDOWN")
setting("socket timeout", "the time after which a silent broker is an error", seconds, variable="SOCKET_TIMEOUT")
setting("max deliveries", "deliveries after which a task becomes a dead letter", variable="MAX_DELIVERIES")
setting("flags", "flags of the command that starts a worker", variable="WORKER_FLAGS")


def is_on(text: str) -> str:
    """Read "on" and "off" for an environment variable."""
    return {"on": "1", "off": "0"}[text]


setting("acks late", "whether a task is acknowledged when it is done, not when taken", is_on, variable="ACKS_LATE")
setting("reject on worker lost", "whether a task whose process dies is queued", is_on, variable="REJECT_ON_WORKER_LOST")
setting("cancel on connection loss", "whether a lost broker cancels running tasks", is_on, variable="CANCEL_ON_LOSS")
setting("deduplication", "whether a worker looks for the result before it runs a task", is_on, variable="DEDUPLICATE")

TRANSPORTS = {
    "kombu's transport": "redis",
    "the batch transport": "redis_practices.celery_worker.batch_transport:Transport",
}
setting("transport", "how a worker talks to the broker", TRANSPORTS.__getitem__, variable="BROKER_TRANSPORT")


def name_keys(context: Context, prefix: str) -> None:
    """Give workers and senders of the scenario this prefix for all keys."""
    context.part(Tasks).prefix = prefix
    # The sender reads its settings in this process.
    context.ending.enter_context(pytest.MonkeyPatch.context()).setenv("KEY_PREFIX", prefix)


@register("setting", "key prefix", "how the keys of workers and senders begin")
def have_prefix(plan: Plan, prefix: str) -> None:
    """Give workers and senders the prefix."""
    plan.environment["KEY_PREFIX"] = prefix
    plan.after.append(lambda context, _: name_keys(context, prefix))


@register("setting", "sentinels", "sentinels that watch the broker and a replica, and promote the replica")
def have_sentinels(plan: Plan, number: str) -> None:
    """Start a replica and sentinels; workers and senders ask the sentinels for the primary."""

    def start(context: Context, broker: Any) -> None:
        # A replica that has never been in sync cannot take over, so it need not wait for others to sync with it.
        broker.node.client().config_set("repl-diskless-sync-delay", 0)
        context.private.server({**BROKER, "replicaof": broker.node.address.split(":")})
        broker.url = sentinel_url(context.private.sentinels(broker.node, int(number)))
        context.ending.enter_context(pytest.MonkeyPatch.context()).setenv("SENTINEL_PRIMARY", NAME)

    plan.environment["SENTINEL_PRIMARY"] = NAME
    plan.after.append(start)


@register("measurement", "clients without TLS", "connections to the broker that did not come through TLS", unit="")
def clients_without_tls(context: Context, broker: Any) -> int:
    """Count the connections that are not those of the proxy (``CLIENT LIST``), without the connection that asks."""
    with broker.client() as client:
        own = client.client_id()
        ports = {int(other["addr"].rpartition(":")[2]) for other in client.client_list() if int(other["id"]) != own}
    assert ports, "the broker has no clients"
    return len(ports - context.named["tls"].upstream_ports)


USER, PASSWORD, PREFIX = "celery", "secret", "app1:"
"""In scenarios about rights; the prefix is that of the keys."""

RESTRICTED = {"WORKER_CONCURRENCY": "1", "VISIBILITY_TIMEOUT": "1", "RESTORE_INTERVAL": "0.5", "RESTORE_THROTTLE": "1"}
"""Settings of the workers of that user: one of the operations waits for a redelivery."""


def restrict(broker: Any, prefix: str, without: str = "") -> None:
    """Let workers and senders reach a broker as the user with the documented rights, `without` one of them."""
    with broker.client() as admin:
        granted = [rule for rule in rules(prefix) if rule not in (without, f"+{without}")]
        admin.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", *granted)
        admin.config_resetstat()
    broker.url = f"redis://{USER}:{PASSWORD}@{broker.node.address}/0"


def refused(admin: Redis) -> list[tuple[str, str]]:
    """Return what the server denied, each with the reason (``ACL LOG``)."""
    found = [(str(entry["reason"]), str(entry["object"])) for entry in admin.acl_log()]
    # redis-py introduces itself where it may; Redis 6.2 knows no subcommands here.
    return [one for one in found if one not in (("command", "client|setinfo"), ("command", "client"))]


@given(parsers.parse('a user with the rights of the worker on "{prefix}"'))
def have_user(context: Context, prefix: str) -> None:
    """Let workers and senders reach the broker as a user with the rights that src/broker_user.py prints.

    Example: ``Given a user with the rights of the worker on "app1:"``
    """
    name_keys(context, prefix)
    context.start_broker(environment={"KEY_PREFIX": prefix, **RESTRICTED})
    restrict(context.broker, prefix)


@target("the user", "the user with the rights of the worker, as a client of the broker")
def the_user(context: Context) -> ServerUnderTest:
    """Return the broker as the user sees it."""
    node = context.broker.node
    return ServerUnderTest(context, node, partial(node.client, username=USER, password=PASSWORD))


@when("a worker performs these operations")
@records("commands denied", "commands that the broker denied to the user of the worker", unit="commands")
def perform(context: Context, datatable: Table) -> None:
    """Perform each operation of the table with a worker of the broker, which starts if there is none.

    Example: a table of OPERATION, such as ``a chord`` or ``an answer to a ping``
    """
    broker, tasks = context.broker, context.part(Tasks)
    if not broker.started:
        broker.start_worker()
    operations = Operations(broker, tasks.app, tasks.probes, patience=15.0)
    for row in rows(datatable, ("OPERATION",)):
        try:
            operations.perform(row["OPERATION"])
        except NoAnswerError as error:
            log = broker.workers()[-1].log_tail(10)
            raise AssertionError(f"{row['OPERATION']}: no answer in time; the log of the worker is\n{log}") from error
    with broker.client() as admin:
        context.record("commands denied", len(refused(admin)))


LOCK = "unacked_mutex"
"""The lock of kombu's workers that give back the tasks of dead ones."""

MOST_KEYS = 200_000
"""Keys of a broker up to which locks with a prefix are looked for; a SCAN of more costs its clients too much."""


@register("finding", "locks without ttl", "locks of workers that give back tasks, which nothing ends (unacked_mutex)")
def locks_without_ttl(context: Context) -> list[dict[str, str]]:
    """Find kombu's lock under any prefix, and ask for its ttl; old releases set that in a second command."""
    with context.nodes(context.role)[0].client() as client:
        names = {LOCK}
        if client.dbsize() <= MOST_KEYS:
            names.update(client.scan_iter(match=f"*{LOCK}", count=10_000))

        def endless() -> list[str]:
            return [name for name in sorted(names) if client.ttl(name) == -1]

        try:
            return [{"KEY": name} for name in poll(endless, 1.0, every=0.25, until=not_)]
        except NoPermissionError as error:
            raise Unsupported(f"needs the right to read {LOCK} (%R~*): {error}") from None


@register("finding", "unused rights", "rights of the user that no command of this scenario used")
def unused_rights(context: Context) -> list[dict[str, str]]:
    """Compare the rights with the commands that were called (``INFO commandstats``)."""
    with context.broker.client() as admin:
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    rights = {command for group in RIGHTS.values() for command in group}
    # Before Redis 7.0 a server did not count subcommands apart.
    return [{"RIGHT": right} for right in sorted(rights - used) if right.partition("|")[0] not in used]


@register("property", "without the right the operation fails", "each right is needed: the broker refuses it, and fails")
def every_right_is_needed(context: Context, number: int, table: Table) -> None:
    """Take each right of the table from a user of a fresh broker, and require that the operation fails for it."""
    of_each = rows(table, ("OPERATION", "RIGHTS"))
    cases = [(right, row["OPERATION"]) for row in of_each for right in row["RIGHTS"].split()]
    assert sorted(right for right, _ in cases) == sorted(rule.removeprefix("+") for rule in rules(PREFIX)[2:])
    assert number == len(cases), f"the table has {len(cases)} rights, not {number}"
    name_keys(context, PREFIX)
    with ThreadPoolExecutor(4) as pool:
        problems = list(filter(None, pool.map(lambda case: problem_without(context, *case), cases)))
    assert not problems, "\n".join(problems)


def problem_without(context: Context, right: str, operation: str) -> str:
    """Return what is wrong if an operation does not fail without a right, or fails for another reason; else nothing."""
    broker = context.private.broker(None, workers=0, KEY_PREFIX=PREFIX, **RESTRICTED)
    restrict(broker, PREFIX, without=right)
    error = error_of(broker, operation)
    kind, name = {"~": ("key", ""), "&": ("channel", "")}.get(right[0], ("command", right))
    with broker.client() as admin:
        denied = refused(admin)
    if error is None:
        return f"without {right}, {operation} does not fail; the broker refused {denied}"
    if not any(reason == kind and name in ("", what) for reason, what in denied):
        return f"without {right}, {operation} fails, but the broker refused {denied}: {error}"
    return ""


def error_of(broker: Broker, operation: str) -> Exception | None:
    """Perform an operation, with a worker where it needs one, and return how it fails."""
    app, results = publisher(settings, broker.url, 2.0), list[AsyncResult]()
    try:
        if operation != "sending a task":
            broker.start_worker()
        Operations(broker, app, results, patience=3.0).perform(operation)
    except (CeleryError, KombuError, RedisError, EmbeddedError, AssertionError, RuntimeError) as error:
        return error
    finally:
        for worker in broker.started:
            worker.kill()
        for result in results:
            let_go(result)
        app.close()
    return None


@register("measurement", "lost tasks", "accepted tasks that neither wait in the queue nor ever ran", unit="tasks")
def lost_tasks(context: Context, tasks: Tasks) -> float:
    """Count them now."""
    return len(tasks.sent) - sum(bool(moments) for moments in tasks.run_at()) - queue_length(context)


SHORTEST = 0.5
"""Seconds of a busy judge in which the shortest task of these scenarios may end before the next step."""


@register("measurement", "waiting tasks", "tasks in the queue that no worker has taken", unit="tasks")
def waiting_tasks(context: Context, thing: Any) -> Seen:
    """Count them now."""
    del thing
    return context.part(Tasks).certain(queue_length(context), "tasks that wait", more_than=SHORTEST)


@when(parsers.parse('"{text}" is pushed to the queue'))
def push(context: Context, text: str) -> None:
    """Write an element to the queue that no Celery made.

    Example: ``When "not json" is pushed to the queue``
    """
    with context.broker.client() as client:
        client.lpush(on_server(context.part(Tasks).queue), text)
