"""Test that each command that a practice sends is tried by the verdict on its role.

Workers, senders, the cache's code and a cluster client work with real servers, which record the commands. One that is
missing in `TRIED` fails with its name, so that a new Celery cannot send one unseen. Each line of `TRIED` names the
promise whose scenario tries the command in `--quick`. Drawn lies about these commands must be refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord, group
from celery.result import AsyncResult
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fixtures import PROJECT
from fixtures.bdd.gherkin import id_of, read
from fixtures.celery_worker.workers import let_go
from fixtures.gate.deployment_under_test import CommandRecord, DeploymentUnderTest
from fixtures.proxies.streams import Command, Mutation
from fixtures.proxies.tampering import MUTATIONS, elsewhere
from fixtures.run.options import PRACTICES, is_quick
from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.protocols import worker_environment
from redis_practices.celery_worker.sending import sender
from redis_practices.clients import cluster_client, redis_client
from redis_practices.polling import eventually
from redis_practices.pure_cache import CacheAside, NearCache
from redis_practices.pure_cache.key_audit import sample
from redis_practices.pure_cache.write_through import WriteThrough
from redis_practices.redis_cluster.key_distribution import distribution, every_key, remove, write
from redis_practices.redis_cluster.key_distribution import read as read_keys
from redis_practices.servers.celery import Beat, start_worker
from redis_practices.servers.server import BROKER, CACHE, Server, start_server
from worker import settings as worker_settings

CONNECT = "each run, as it connects"
"""Stands for the commands of a new connection, and for questions about an engine and the owners of the slots."""

CONNECTING = dict.fromkeys(("HELLO", "CLIENT SETINFO LIB-NAME", "CLIENT SETINFO LIB-VER", "PING"), CONNECT)

CLOCK = "none: a worker measures the difference of the clocks, so that a wrong one does no harm"

TRIED: Mapping[str, Mapping[str, str]] = {
    "broker": {
        **CONNECTING,
        "TIME": CLOCK,
        "BRPOP": "celery-140",
        "DEL": "celery-142",
        "EVAL": "celery-145",
        "EVALSHA": "celery-145",
        "EXEC": "celery-028",
        "EXISTS": "celery-142",
        "EXPIRE": "celery-143",
        "GET": "celery-142",
        "HDEL": "celery-141",
        "HGET": "celery-141",
        "HSET": "celery-141",
        "INCR": "celery-143",
        "INCRBY": "celery-143",
        "LLEN": "celery-144",
        "LPUSH": "celery-140",
        "LRANGE": "celery-144",
        "MGET": "celery-142",
        "MULTI": "celery-028",
        "PSUBSCRIBE": "celery-147",
        "PUBLISH": "celery-147",
        "PUNSUBSCRIBE": "celery-147",
        "RPUSH": "celery-144",
        "SADD": "celery-144",
        "SCRIPT EXISTS": "celery-145",
        "SCRIPT LOAD": "celery-145",
        "SET EX": "celery-025",
        "SET NX PX": "celery-144",
        "SETEX": "celery-142",
        "SMEMBERS": "celery-144",
        "SREM": "celery-144",
        "SUBSCRIBE": "celery-147",
        "UNSUBSCRIBE": "celery-147",
        "WATCH": "celery-146",
        "ZADD": "celery-141",
        "ZCOUNT": "celery-143",
        "ZRANGE": "celery-143",
        "ZRANGE BYSCORE REV": "celery-141",
        "ZRANGE BYSCORE REV WITHSCORES": "celery-141",
        "ZREM": "celery-141",
    },
    "cache": {
        **CONNECTING,
        **dict.fromkeys(("COMMAND INFO DELEX", "COMMAND INFO DELIFEQ"), CONNECT),
        "CLIENT TRACKING ON BCAST PREFIX": "cache-062",
        "DEL": "cache-112",
        "DELIFEQ": "cache-016",
        "EVAL": "cache-115",
        "GET": "cache-112",
        "HMGET": "cache-113",
        "MEMORY USAGE": "cache-047",
        "PTTL": "cache-111",
        "SCAN COUNT": "cache-114",
        "SET IFEQ PX": "cache-016",
        "SET NX PX": "cache-110",
        "SET PX": "cache-113",
        "TTL": "cache-047",
    },
    "cluster": {
        **CONNECTING,
        **dict.fromkeys(("CLUSTER SLOTS", "COMMAND"), CONNECT),
        "EXISTS": "cluster-095",
        "GET": "cluster-097",
        "READONLY": "cluster-098",
        "SCAN MATCH COUNT": "cluster-099",
        "SET EX": "cluster-097",
        "UNLINK": "cluster-097",
        "WAIT": "cluster-098",
    },
}
"""By role, the id of the promise that tries each command; flags belong to a command's name."""

RECORDING = {"CLIENT INFO", "CONFIG RESETSTAT", "INFO", "MONITOR", "REPLCONF", "SET PXAT"}
"""The commands of the record, and between primaries and replicas."""

FLAG = re.compile(rb"[A-Z][A-Z-]+")


def form_of(words: Command) -> str:
    """Return a command with its flags: the words in capitals."""
    return " ".join([words[0].upper().decode(), *(word.decode() for word in words[1:] if FLAG.fullmatch(word))])


def sent(records: list[CommandRecord]) -> set[str]:
    """Return the commands that servers received, without those in scripts; MONITOR omits some, INFO counts them."""
    calls = [words for record in records for _, words in record.commands()]
    names = {words[0].upper().decode() for words in calls}
    counted = {name for record in records for name in record.counted()} - RECORDING
    unseen = {name for name in counted if name.partition(" ")[0] not in names}
    return unseen | {form_of(words) for record in records for _, words in record.commands(in_scripts=False)} - RECORDING


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """Give a stack for all that ends with a test."""
    with ExitStack() as stack:
        yield stack


def recorded(server: Server, ending: ExitStack) -> CommandRecord:
    """Record the commands of a server from now on."""
    client = ending.enter_context(server.client(decode_responses=False))
    return ending.enter_context(closing(CommandRecord(server.port, client)))


def require_tried(role: str, commands: set[str]) -> None:
    """Require that `TRIED` has each command."""
    untried = sorted(commands - TRIED[role].keys())
    assert not untried, f"no promise of a {role} tries {', '.join(untried)}: add a data path, and its id to TRIED"


# Celery

PATIENCE = 20.0


def work(app: Celery, worker: str) -> None:
    """Send tasks of each kind, wait for their results, and control a worker."""

    def returned(result: AsyncResult) -> Any:
        return result.get(timeout=PATIENCE, disable_sync_subtasks=False)

    add = app.signature("worker.add", args=[4, 8])
    results = [
        add.apply_async(),
        add.apply_async(countdown=0.2),
        group([add, add], app=app).apply_async(),
        chord([add, add], app=app)(app.signature("worker.total")),
        app.send_task("worker.flaky", [1, 0.0]),
        app.send_task("worker.refuse", [1]),
        app.send_task("worker.pay", ["bill"]),
    ]
    assert [returned(result) for result in results] == [12, 12, [12, 12], 24, 2, 2, True]
    assert dict(app.backend.get_many([results[0].id]))
    WorkersClock().eventually(lambda: bool(app.control.ping([worker], timeout=1.0)), within=PATIENCE)
    assert app.control.inspect([worker], timeout=PATIENCE).stats()
    app.control.revoke(results[0].id)
    results[0].forget()
    for result in results:
        let_go(result)


BATCH = "redis_practices.celery_worker.batch_transport:Transport"


@pytest.mark.parametrize("transport", ["ours", pytest.param("batch", marks=pytest.mark.slow)])
def test_commands_of_a_worker(transport: str, ending: ExitStack) -> None:
    """A worker, a beat and a sender with the settings of this project send no untried command."""
    group_of_it = ending.enter_context(ForkingGroup("redis-practices-sent"))
    server = start_server(group_of_it, BROKER)
    record = recorded(server, ending)
    told = {"WORKER_CONCURRENCY": "1", "WORKER_FLAGS": "", "RESTORE_INTERVAL": "0.3"}
    told |= {"BROKER_TRANSPORT": BATCH} if transport == "batch" else {}
    worker = start_worker(group_of_it, server.url, "sent1", worker_environment(told))
    work(sender(worker_settings(server.url)), worker.name)
    beat = Beat(group_of_it, "beat", worker_environment({"BROKER_URL": server.url, "BEAT_EVERY": "1"}))
    WorkersClock().eventually(lambda: "Sending due task" in beat.log_tail(1000), within=PATIENCE)
    beat.stop()
    worker.stop()
    require_tried("broker", sent([record]))


@pytest.mark.slow
def test_commands_of_celery_alone(ending: ExitStack) -> None:
    """A worker and a sender with the settings of Celery send no untried command."""
    group_of_it = ending.enter_context(ForkingGroup("redis-practices-sent"))
    server = start_server(group_of_it, BROKER)
    record = recorded(server, ending)
    told = worker_environment({"BROKER_URL": server.url, "PYTHONPATH": str(PROJECT / "src")})
    log = group_of_it.folder / "plain.log"
    arguments = ["-A", "tests.plain_app", "worker", "-n", "plain@localhost", "-c", "1", "-l", "INFO"]
    child = group_of_it.start_python("celery", arguments, log, cwd=PROJECT, env={**os.environ, **told})
    WorkersClock().eventually(lambda: " ready." in log.read_text(), within=PATIENCE)
    work(sender({"broker_url": server.url, "result_backend": server.url}), "plain@localhost")
    child.terminate()
    child.wait(PATIENCE)
    require_tried("broker", sent([record]))


# The cache and the cluster


def test_commands_of_a_cache(ending: ExitStack) -> None:
    """The code of this practice sends no untried command; `WriteBehind` is not for a pure cache."""
    server = start_server(ending.enter_context(ForkingGroup("redis-practices-sent")), CACHE)
    record = recorded(server, ending)
    client = ending.enter_context(redis_client(server.url))
    cache, records = CacheAside(client, ttl=60), WriteThrough(client, ttl=60)
    assert [cache.get_or_compute("user:1", lambda: "Ann"), cache.get_or_compute("user:1", lambda: "Bob")] == ["Ann"] * 2
    cache.invalidate("user:1")
    assert records.write("user:2", "Ann", lambda _: 1)
    assert records.get("user:2") == "Ann"
    with NearCache(client, "near:") as near:
        eventually(lambda: near.listening, within=PATIENCE)
        assert near.get("near:1") is None
    assert len(list(sample(client))) == 1
    require_tried("cache", sent([record]))


def test_commands_of_a_cluster_client(ending: ExitStack) -> None:
    """The code that writes, reads, finds and deletes many keys sends no untried command."""
    under_test = DeploymentUnderTest.within(ending, None)
    servers = under_test.builder.servers("cluster")
    records = [recorded(server, ending) for server in servers]
    values = {f"user:{number}": str(number) for number in range(100)}
    with cluster_client(servers[0].url) as client:
        write(client, values, 60)
        assert read_keys(client, values) == list(values.values())
        assert sum(node.keys for node in distribution(client, list(values)) if node.role == "primary") == len(values)
        assert len(set(every_key(client))) == len(values)
        remove(client, values)
    require_tried("cluster", sent(records))


# The list itself


def quick_ids(role: str, *names: str) -> set[str | None]:
    """Return the ids of the scenarios that judge a role in `--quick`, of some features or all."""
    paths = (PROJECT / "features" / PRACTICES[role]).glob("*.feature")
    read_here = [read(path) for path in paths if not names or path.stem in names]
    return {id_of(one.tags) for text in read_here for one in text.written() if is_quick(one.tags)}


@pytest.mark.parametrize("role", TRIED)
def test_promises_are_quick(role: str) -> None:
    """Each id in the list belongs to a scenario that judges this role in `--quick`."""
    assert sorted(set(TRIED[role].values()) - quick_ids(role) - {CONNECT, CLOCK}) == []


QUICK = "--quick -k 'data_path or commands'"


@pytest.mark.slow
@pytest.mark.parametrize("role", TRIED)
def test_scenarios_send_them(role: str, ending: ExitStack, tmp_path: Path) -> None:
    """The scenarios about commands and the data path really send each command that the list gives them."""
    under_test = DeploymentUnderTest.within(ending, None)
    under_test.role, under_test.servers = role, under_test.builder.servers(role)
    under_test.url = under_test.servers[0].url
    records = [recorded(server, ending) for server in under_test.servers]
    under_test.judge(tmp_path, QUICK)
    assert not under_test.ended("failed"), under_test.said
    ids = quick_ids(role, "commands", "data_path")
    listed = {command for command, name in TRIED[role].items() if name in ids}
    assert sorted(listed - sent(records)) == []


CHANCE = re.compile(r"(\d+) %\s+by\s+(\d+)\s+trials")


@pytest.mark.parametrize("role", TRIED)
def test_probability(role: str) -> None:
    """The probability of finding a defect of one command in 100, as the feature says it, is the computed one."""
    feature = PROJECT / "features" / PRACTICES[role] / "commands.feature"
    said = [(int(percent), int(trials)) for percent, trials in CHANCE.findall(feature.read_text(encoding="utf-8"))]
    assert said
    assert said == [(round(100 * (1 - 0.99**trials)), trials) for _, trials in said]


# Lies

EVERY = 20
"""The lie is about every command of this number."""


def without_flags(command: Command) -> Command:
    """Return a command without its flags, and without the words that follow them."""
    first = next((place for place, word in enumerate(command) if place and FLAG.fullmatch(word)), len(command))
    return command[:first]


def empty(reply: bytes) -> bytes:
    """Return another reply of the same type: a greater number, no text, no members."""
    if reply.startswith(b":"):
        return b":%d\r\n" % (2 * int(reply[1:]) + 1)
    return {b"$": b"$-1\r\n", b"*": b"*0\r\n", b"~": b"~0\r\n"}.get(reply[:1], reply)


class Lie(Mutation):
    """A lie about one command in some of a form."""

    def __init__(self, form: str, change: Callable[[Command], Command] | None) -> None:
        """Change the command, or its reply."""
        super().__init__()
        self._form, self._change = form, change
        self._calls = self._replies = 0

    def command(self, command: Command) -> Command | bytes:
        """Change the command if it is due."""
        if self._change is None or form_of(command) != self._form:
            return command
        self._calls += 1
        return command if self._calls % EVERY else self._change(command)

    def reply(self, command: Command, reply: bytes) -> bytes:
        """Change the reply if it is due."""
        if self._change is not None or form_of(command) != self._form or reply.startswith(b"+"):
            return reply
        self._replies += 1
        return reply if self._replies % EVERY else empty(reply)


NO_FIRST_KEY = {"EVAL", "EVALSHA", "EXEC", "MULTI", "READONLY", "SCAN", "SCRIPT", "WAIT"}
NO_NUMBER = {"MULTI", "PUBLISH", "READONLY", "SCAN", "SCRIPT", "SET", "SETEX", "WATCH"}
"""Commands with the reply `OK`, or with the subscribers of one node; a whole scan is fewer commands than `EVERY`."""


def about(left_out: set[str], change: Callable[[Command], Command] | None) -> list[tuple[str, str, Any]]:
    """Return role, command and change for each command that the two features try; messages are pushed, no replies."""
    ids = {role: quick_ids(role, "commands", "data_path") for role in TRIED}
    forms = [(role, form) for role, tried in TRIED.items() for form, name in tried.items() if name in ids[role]]
    return [
        (role, form, change)
        for role, form in forms
        if form.split()[0] not in left_out and not form.endswith("SUBSCRIBE")
    ]


LIES = [
    *about(NO_FIRST_KEY, elsewhere),
    *about(NO_NUMBER, None),
    ("broker", "SET NX PX", without_flags),
    ("broker", "ZRANGE BYSCORE REV", without_flags),
    ("cache", "SET NX PX", without_flags),
]


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=[Phase.generate])  # each takes 5 s, and is as small as any
@given(lie=st.sampled_from(LIES))
def test_drawn_lie_is_refused(
    lie: tuple[str, str, Callable[[Command], Command] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A deployment whose proxy lies about one command in 20 is refused by its data path."""
    role, form, change = lie
    with ExitStack() as ending, pytest.MonkeyPatch.context() as patch:
        patch.setitem(MUTATIONS, "drawn", lambda: Lie(form, change))
        under_test = DeploymentUnderTest.within(ending, None)
        under_test.role, under_test.url = role, under_test.builder.url(role, "drawn")
        under_test.judge(tmp_path_factory.mktemp("drawn"), QUICK)
    assert under_test.report["verdict"] == "refused", under_test.said
