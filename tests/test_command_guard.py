"""Test that no process of a run sends forbidden commands to an external deployment."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import redis
from celery import Celery
from redis import Redis
from redis.exceptions import ClusterDownError, ClusterError, MovedError, TryAgainError

from fixtures import PROJECT
from fixtures.proxies.streams import TlsProxy
from fixtures.run.keys import StackError, Unsupported
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.embedded import EmbeddedBroker
from fixtures.stacks.external import command_guard, deployments
from fixtures.stacks.external.command_guard import (
    COUNTS,
    Channel,
    Guarded,
    celery_environment,
    commands_sent,
    guard,
    guarded_client,
    guarded_cluster,
    prove,
)
from fixtures.stacks.external.deployments import ExternalBroker, ExternalCluster, ExternalServer
from fixtures.stacks.external.rate_limit import BURST, VARIABLE
from fixtures.stacks.external.stack import ExternalStack
from fixtures.stacks.protocols import worker_environment
from redis_practices.celery_worker.sending import sender, value_of
from redis_practices.clients import POOLS, async_client, cluster_client, redis_client
from redis_practices.polling import eventually, join
from redis_practices.servers.celery import Beat
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import BROKER, Server, start_server
from redis_practices.tuning.bulk import pipelined
from redis_practices.tuning.connections import another, cluster_each_time, tasks_of
from tests import forbidden_task
from worker import settings

FORBIDDEN = {
    "FLUSHALL": ["FLUSHALL"],
    "FLUSHDB": ["flushdb"],
    "CONFIG SET": ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
    "CONFIG RESETSTAT": ["CONFIG RESETSTAT"],
    "CLIENT PAUSE": ["CLIENT", "PAUSE", "1"],
}
"""Forbidden commands that a server executes at once, in the forms that redis-py accepts."""

KEY = "a key of others"

RATE, TIMES = 200, 40
"""The rate limit in commands a second, and the number of commands of a test."""

AT_LEAST = (TIMES - 1) / RATE - BURST
"""The seconds that these commands take under the rate limit."""


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkingGroup]:
    """Give a group whose workers know the task of this test."""
    monkeypatch.setenv("WORKER_INCLUDES", forbidden_task.__name__)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    with ForkingGroup() as group:
        yield group


@pytest.fixture
def server(group: ForkingGroup) -> Server:
    """Give a server with a key and a setting of another user."""
    server = start_server(group, BROKER)
    with server.client() as client:
        client.set(KEY, "its value")
    return server


@pytest.fixture
def guarded(group: ForkingGroup, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guard this process with a rate limit, as ``--max-ops`` does, until the test ends."""
    monkeypatch.setenv(VARIABLE, f"{RATE}:{group.folder / 'turns'}")
    before = command_guard._never, command_guard._limit, command_guard._counter  # noqa: SLF001 - what `guard` sets
    pools = dict(POOLS)
    guard(disrupt=False)
    yield
    POOLS.update(pools)
    command_guard._never, command_guard._limit, command_guard._counter = before  # noqa: SLF001 - see above


def kept(client: Redis) -> tuple[object, object]:
    """Return the state that the forbidden commands would change."""
    return client.get(KEY), client.config_get("maxmemory-policy")["maxmemory-policy"]


Send = Callable[[Server, list[str], int], object]
"""Sends a command several times to a server by one kind of client."""


def by_client(server: Server, words: list[str], times: int) -> None:
    """Send the command by a client of a server."""
    with ExternalServer(server.url).client() as client:
        for _ in range(times):
            client.execute_command(*words)


def by_tls(server: Server, words: list[str], times: int) -> None:
    """Send the command by a client with TLS."""
    with closing(TlsProxy(server.folder)) as proxy:
        url = f"rediss://{proxy.before(server.port)}?ssl_ca_certs={proxy.ca_file}"
        with ExternalServer(url).client() as client:
            for _ in range(times):
                client.execute_command(*words)


def by_pipeline(server: Server, words: list[str], times: int) -> None:
    """Send the command in a pipeline."""
    with ExternalServer(server.url).client() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(times):
            pipe.execute_command(*words)
        pipe.execute()


def by_packed_pipeline(server: Server, words: list[str], times: int) -> None:
    """Send the command as `redis_practices.tuning.bulk` packs commands."""
    with ExternalServer(server.url).client() as client:
        pipelined(client, [tuple(" ".join(words).split())] * times)


def by_subscriber(server: Server, words: list[str], times: int) -> None:
    """Send the command by the connection of a subscriber."""
    with ExternalServer(server.url).client() as client, client.pubsub() as subscriber:
        for _ in range(times):
            subscriber.execute_command(*words)


def by_further_client(server: Server, words: list[str], times: int) -> None:
    """Send the command by a client that a tuning practice creates from another client."""
    with ExternalServer(server.url).client() as client, another(client) as further:
        for _ in range(times):
            further.execute_command(*words)


def by_asyncio(url: str, words: list[str], times: int, *, together: bool = False) -> None:
    """Send the command by a client for asyncio, in one pipeline if `together`."""

    async def run() -> None:
        async with async_client(url) as client, client.pipeline(transaction=False) as pipe:
            for _ in range(times):
                await (pipe if together else client).execute_command(*words)
            await pipe.execute()

    asyncio.run(run())


def by_tasks(server: Server, words: list[str], times: int) -> None:
    """Send the command by the connections of parallel tasks, which otherwise send only GET."""
    with ExternalServer(server.url).client() as client, tasks_of(client, 2) as read:
        if times > 1:
            read([KEY] * times)
        by_client(server, words, 1)


def by_asyncio_and_tls(server: Server, words: list[str], times: int) -> None:
    """Send the command by a client for asyncio with TLS."""
    with closing(TlsProxy(server.folder)) as proxy:
        by_asyncio(f"rediss://{proxy.before(server.port)}?ssl_ca_certs={proxy.ca_file}", words, times)


WAYS: dict[str, Send] = {
    "a client": by_client,
    "a client, TLS": by_tls,
    "a pipeline": by_pipeline,
    "a packed pipeline": by_packed_pipeline,
    "a subscriber": by_subscriber,
    "a further client": by_further_client,
    "asyncio": lambda server, *sent: by_asyncio(server.url, *sent),
    "asyncio, a pipeline": lambda server, *sent: by_asyncio(server.url, *sent, together=True),
    "asyncio, TLS": by_asyncio_and_tls,
    "asyncio, a practice": by_tasks,
}


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("way", WAYS)
def test_client_refuses(server: Server, way: str) -> None:
    """Each kind of client refuses forbidden commands, and rate-limits all others."""
    for name, words in FORBIDDEN.items():
        with pytest.raises(Unsupported, match=f"external: {name} is not sent to the user's deployment"):
            WAYS[way](server, words, 1)
    begun = time.monotonic()
    WAYS[way](server, ["SET", "allowed", "1"], TIMES)
    assert time.monotonic() - begun >= AT_LEAST, "they did not wait for their turns"
    with server.client() as client:
        assert kept(client) == ("its value", "noeviction")
        assert client.get("allowed") == "1"


@pytest.mark.parametrize("way", [name for name in WAYS if name != "a subscriber"])
def test_client_obeys_without_guard(server: Server, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard a server receives the forbidden commands: the test above can fail."""
    monkeypatch.setattr(command_guard, "require_guard", lambda _: None)
    WAYS[way](server, ["FLUSHALL"], 1)
    with server.client() as client:
        assert not client.exists(KEY)


@pytest.fixture
def cluster(group: ForkingGroup, request: pytest.FixtureRequest) -> EmbeddedCluster:
    """Give a cluster, which starts before the guard: it needs forbidden commands."""
    started = start_cluster(group, replicas=0)
    request.getfixturevalue("guarded")
    return started


def test_redirected_command_is_a_skip(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is redirected too often is a reason to skip while a slot is open or moves, else a failure."""
    monkeypatch.setattr(deployments, "MOVING", 1.0)
    errors = (MovedError("0 127.0.0.1:1"), TryAgainError("Multiple keys"), ClusterError("TTL exhausted."))
    stack = ExternalStack({"cluster": cluster.url})
    source, target = (Redis(port=node.port) for node in cluster.nodes[:2])
    here, there = (node.execute_command("CLUSTER MYID") for node in (source, target))
    assert [stack.explain(error) for error in errors] == [None] * len(errors)
    target.execute_command("CLUSTER SETSLOT", 0, "IMPORTING", here)
    reasons = [stack.explain(error) or "" for error in errors]
    assert all("slots that are not open, which cluster-007 judges" in reason for reason in reasons)
    assert stack.explain(ClusterDownError("Hash slot not served")) is None
    target.execute_command("CLUSTER SETSLOT", 0, "STABLE")

    def move() -> None:
        for node in (target, source):
            node.execute_command("CLUSTER SETSLOT", 0, "NODE", there)

    moving = Timer(0.5, move)
    moving.start()
    assert "judge again when no slot moves" in (stack.explain(errors[0]) or "")
    join(moving)


def test_client_of_cluster_refuses(cluster: EmbeddedCluster) -> None:
    """A cluster client refuses forbidden commands on every node, and counts all others."""
    with ExternalCluster(cluster.url).client() as client, client.pipeline() as pipe:
        for name, words in FORBIDDEN.items():
            for node in client.get_nodes():
                with pytest.raises(Unsupported, match=name):
                    client.get_redis_connection(node).execute_command(*words)
        with pytest.raises(Unsupported, match="FLUSHALL"):
            client.flushall()
        begun = time.monotonic()
        for number in range(TIMES):
            pipe.set(f"key:{number}", "1")
        pipe.execute()
        assert time.monotonic() - begun >= AT_LEAST, "they did not wait for their turns"
        begun = time.monotonic()
        cluster_each_time(client, ["key:1"] * 10)
        assert time.monotonic() - begun >= 10 / RATE, "further clients did not wait for their turns"


CELERY = tuple(forbidden_task.CLIENTS)


def asked(app: Celery, queue: str, client: str, words: list[str], times: int = 1) -> Any:
    """Send a command from a worker; return its answer and the seconds, or the task's exception."""
    result = app.send_task("test.send_command", (client, words, times), queue=queue)
    try:
        return value_of(result, 20.0)
    except Exception as error:  # noqa: BLE001 - what the task raised is the answer
        return error
    finally:
        result.backend = None  # not at import: the module looks for its broker


@pytest.mark.parametrize(
    "transport", ["", pytest.param("redis_practices.celery_worker.batch_transport:Transport", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("bound", ["", RATE], ids=["no bound", "a bound"])
def test_worker_refuses(
    group: ForkingGroup, server: Server, bound: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client of a worker refuses forbidden commands, and executes all others."""
    if bound:
        monkeypatch.setenv(VARIABLE, f"{bound}:{group.folder / 'turns'}")
    broker = ExternalBroker(server.url, group)  # as a run with --broker-url sets it
    broker.start_worker(BROKER_TRANSPORT=transport, WORKER_POOL="solo")
    with closing(sender(settings(broker.url))) as app:
        for client in CELERY:
            for name, words in FORBIDDEN.items():
                refused = asked(app, broker.queue, client, words)
                assert isinstance(refused, Unsupported), f"{name} by {client} gives {refused!r}"
                assert str(refused) == f"external: {name} is not sent to the user's deployment"
            answer, took = asked(app, broker.queue, client, ["ECHO", "allowed"], TIMES)
            assert answer == "allowed"
            assert took >= AT_LEAST or not bound, f"{client} did not wait for its turns"
    with server.client() as client:
        assert kept(client) == ("its value", "noeviction")


@pytest.mark.parametrize("client", CELERY)
def test_worker_obeys_without_guard(group: ForkingGroup, server: Server, client: str) -> None:
    """Without the guard a worker sends the forbidden commands: the test above can fail."""
    broker = EmbeddedBroker(server, group)
    broker.start_worker(WORKER_POOL="solo")
    with closing(sender(settings(broker.url))) as app:
        assert asked(app, broker.queue, client, ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])[0] in {
            "OK",
            "True",
        }
    with server.client() as observer:
        assert kept(observer) == ("its value", "allkeys-lru")


FORKS = """
import os, signal, sys
from fixtures.stacks.external.command_guard import guard
from redis_practices.clients import redis_client

guard(disrupt=False)

def send():
    with redis_client(sys.argv[1]) as client:
        for _ in range(20):
            client.ping()

send()
child = os.fork()
if child:
    os.waitpid(child, 0)
send()
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A program that sends 20 commands before its fork, and 20 more in each process, and is killed."""


def test_commands_of_killed_processes_are_counted(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    """The number of commands of killed processes equals the number on the server."""
    monkeypatch.setenv(COUNTS, str(tmp_path))
    with server.client() as observer:
        before = answered(observer)
        ended = subprocess.run([sys.executable, "-c", FORKS, server.url], cwd=PROJECT, env=project_path(), check=False)
        counted = answered(observer) - before - 1
    assert ended.returncode == -signal.SIGKILL
    assert (commands_sent(), counted >= 3 * 20) == (counted, True)


def answered(client: Redis) -> int:
    """Return the number of commands that a server has answered, unknown ones included."""
    stats = client.info("stats")
    return int(stats["total_commands_processed"] + stats["total_error_replies"])


def test_commands_of_a_killed_worker_are_counted(
    group: ForkingGroup, server: Server, tmp_path: Path, monkeypatch: Any
) -> None:
    """The commands of a worker are counted while it runs and after it was killed."""
    monkeypatch.setenv(COUNTS, str(tmp_path))
    broker = ExternalBroker(server.url, group)
    worker = broker.start_worker()
    before = commands_sent()
    with closing(sender(settings(broker.url))) as app:
        asked(app, broker.queue, "a task's own client", ["ECHO", "allowed"], TIMES)
    worker.kill()
    assert commands_sent() >= before + TIMES


def project_path() -> dict[str, str]:
    """Return an environment with the project in PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "src")))}


@pytest.mark.parametrize(("guards", "command"), [(True, "FLUSHDB"), (True, "ECHO allowed"), (False, "FLUSHDB")])
def test_beat(group: ForkingGroup, server: Server, command: str, *, guards: bool, monkeypatch: Any) -> None:
    """A beat in the environment of a run refuses forbidden commands, and is rate-limited."""
    seen = group.folder / "seen"
    monkeypatch.setenv(VARIABLE, f"{RATE}:{group.folder / 'turns'}")
    guarding = celery_environment() if guards else {}
    sending = {"BROKER_URL": server.url, "SENT_BY_BEAT": command, "SEEN_BY_BEAT": str(seen), "BEAT_EVERY": "60"}
    Beat(group, "beat", worker_environment({**sending, **guarding}))
    eventually(seen.exists, within=20.0)
    text = seen.read_text(encoding="utf-8")
    if guards and command == "FLUSHDB":
        assert text == 'Unsupported("external: FLUSHDB is not sent to the user\'s deployment")'
    else:
        answer, took = ast.literal_eval(text)
        assert answer in {"True", "allowed"}
        assert (took >= AT_LEAST) is guards
    with server.client() as client:
        assert bool(client.exists(KEY)) is guards


def test_what_is_not_guarded_does_not_begin(server: Server, group: ForkingGroup) -> None:
    """A client without the guard is refused, and a connection without it fails the proof."""
    with (
        redis_client(server.url) as client,
        pytest.raises(StackError, match="Connection would send unchecked"),
    ):
        guarded_client(client)
    cluster = start_cluster(group, primaries=3, replicas=0)
    with (
        cluster_client(cluster.url) as client,
        pytest.raises(StackError, match="Connection would send unchecked"),
    ):
        guarded_cluster(client)
    with pytest.raises(StackError, match="FLUSHALL would be sent"):
        prove(redis.ConnectionPool.from_url("redis://127.0.0.1:1").make_connection())


@pytest.mark.parametrize("renamed", ["send_packed_command", "connection_class"])
def test_guard_notices_a_renamed_method(renamed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run does not begin if a release of redis-py sends by another method."""
    if renamed == "send_packed_command":
        monkeypatch.delattr(Guarded, renamed)  # redis-py would then call no method of the guard
    else:
        monkeypatch.setattr(command_guard, "guarded", lambda kind: kind)
    monkeypatch.setattr(command_guard, "POOLS", {})
    with pytest.raises(StackError, match="FLUSHALL would be sent"):
        guard(disrupt=False)


def test_guard_notices_a_renamed_attribute_of_kombu(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """No channel opens if a release of kombu ignores ``connection_class``."""
    monkeypatch.delattr(Channel, "connection_class")
    with closing(Celery(set_as_current=False)) as app:
        app.conf.update(settings(server.url), broker_transport=celery_environment()["BROKER_TRANSPORT"])
        with pytest.raises(StackError, match="Connection would send unchecked"):
            forbidden_task.channel_of(app)


MAKERS = {"Redis", "StrictRedis", "AsyncRedis", "RedisCluster", "Celery", "ConnectionPool", "BlockingConnectionPool"}
"""Functions that create clients."""

MAY_MAKE = {
    "src/redis_practices/clients.py": "creates clients with POOLS",
    "src/redis_practices/redis_cluster/slot_migration.py": "keeps the connections of the first client",
    "src/redis_practices/tuning/connections.py": "further clients of a server; isolated servers",
    "src/redis_practices/tuning/scaling.py": "unix sockets of isolated servers",
    "src/redis_practices/celery_worker/sending.py": "has the settings of the worker",
    "src/worker.py": "reads its transport and its backend from the environment",
    "steps/redis_cluster/nodes.py": "an isolated cluster",
    "fixtures/gate/worker_scenes.py": "an app that sends tasks of a user",
    "steps/pure_cache/cache_aside.py": "has a pool that makes readers wait",
    "steps/tuning/ways.py": "a client of an isolated server, as redis-py makes it",
}
"""The modules that may create clients, with the reason."""


def test_clients_are_made_where_they_are_guarded() -> None:
    """Only known modules of a run create clients."""
    found = set()
    for folder in ("src", "fixtures", "steps"):
        for path in Path(PROJECT, folder).rglob("*.py"):
            for call in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]:
                target = call.func.value if isinstance(call.func, ast.Attribute) else call.func
                if isinstance(target, ast.Name) and target.id in MAKERS:
                    found.add(path.relative_to(PROJECT).as_posix())
    assert found == set(MAY_MAKE)
