"""Test the repair of a migration that a failover or a death has broken, on each engine.

All keys are readable afterwards, or the repair refuses and says why. The yardstick is ``redis-cli --cluster fix``.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisClusterException, RedisError

from fixtures.run.own_time import WorkersClock
from fixtures.run.processes import ForkingGroup
from redis_practices.polling import join
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.slot_migration import (
    atomic_interface,
    close_open_slots,
    is_moving,
    move_slots,
    open_slots,
)
from redis_practices.redis_cluster.topology import ClusterError, itself, known_to, members, slot_of
from redis_practices.servers.cluster import EmbeddedCluster, start_cluster
from redis_practices.servers.server import Server, server_binary
from tests.cases.preparing import prepared

SLOT = slot_of("{cart}:0")
NAMES = [f"{{cart}}:{number}".encode() + b"\xff" for number in range(20)]
AHEAD = 10
"""The number of keys that have moved when the migration breaks."""


@dataclass
class Broken:
    """A cluster with a half moved slot."""

    cluster: EmbeddedCluster
    clients: dict[Server, Redis]
    source: Server
    target: Server
    dead: set[Server] = field(default_factory=set)

    def alive(self) -> list[Redis]:
        """Return clients of the nodes that run."""
        return [client for server, client in self.clients.items() if server not in self.dead]

    def replica_of(self, primary: Server) -> Redis:
        """Return a client of a primary's replica."""
        identity = itself(self.clients[primary]).identity
        return next(client for client in self.alive() if itself(client).primary == identity)

    def fail_over(self, primary: Server, *, killed: bool) -> None:
        """Promote the replica of a primary, which follows it then, or is dead."""
        replica = self.replica_of(primary)
        # Both have all keys: losing keys of a single server is not the subject.
        self.clients[primary].wait(1, 2000)
        if killed:
            primary.kill()
            self.dead.add(primary)
            prepared(lambda: not itself(replica).primary)
        else:
            fail_over(replica)

    def restart(self, server: Server) -> None:
        """Start a dead node again."""
        server.restart()
        self.dead.discard(server)

    def settled(self) -> bool:
        """Tell whether all nodes agree, but for `SLOT`: a node of Redis 7 that takes it knows its first owner only."""
        views = {
            frozenset((slot, member.identity) for member in members(node).values() for slot in member.slots - {SLOT})
            for node in self.alive()
        }
        deaf = self.clients[self.target]  # on Redis 7, where `SLOT` has no owner after a failover of the source
        states = [str(node.execute_command("CLUSTER", "INFO")) for node in self.alive() if node is not deaf]
        return len(views) == 1 and all("cluster_state:ok" in state for state in states)


@contextmanager
def cluster_with_keys(group: ForkingGroup, engine: str | None) -> Iterator[Broken]:
    """Give a cluster in which a primary has the keys of `SLOT`, and another one may take them."""
    with ExitStack() as ending:
        cluster = start_cluster(group, node_timeout_ms=1000, binary=engine)
        clients = {node: ending.enter_context(node.client()) for node in cluster.nodes}
        with cluster.client() as client:
            for name in NAMES:
                client.set(name, "value")
        primaries = [node for node, client in clients.items() if not itself(client).primary]
        source = next(node for node in primaries if SLOT in itself(clients[node]).slots)
        target = next(node for node in primaries if node is not source)
        yield Broken(cluster, clients, source, target)


@pytest.fixture
def broken(group: ForkingGroup, engine: str | None) -> Iterator[Broken]:
    """Give a cluster whose `SLOT` a test may move."""
    with cluster_with_keys(group, engine) as found:
        yield found


def open_it(found: Broken, moved: int = AHEAD) -> None:
    """Open the slot, and move some of its keys."""
    source, target = found.clients[found.source], found.clients[found.target]
    target.execute_command("CLUSTER SETSLOT", SLOT, "IMPORTING", itself(source).identity)
    source.execute_command("CLUSTER SETSLOT", SLOT, "MIGRATING", itself(target).identity)
    if moved:
        source.execute_command("MIGRATE", "127.0.0.1", found.target.port, "", 0, 5000, "KEYS", *NAMES[:moved])


@pytest.fixture
def group() -> Iterator[ForkingGroup]:
    """Give a process group for this test."""
    with ForkingGroup() as processes:
        yield processes


@pytest.fixture(params=["default", pytest.param("redis7", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> str | None:
    """Give the path of each available server program."""
    return None if request.param == "default" else server_binary("/usr/bin/redis-server")


def fail(found: Broken, *sides: str, killed: bool) -> None:
    """Fail over sides of the migration."""
    for side in sides:
        found.fail_over(getattr(found, side), killed=killed)


def killed_and_back(found: Broken) -> None:
    """Kill the target until its replica has taken over, and start it again."""
    found.fail_over(found.target, killed=True)
    prepared(found.settled)
    found.restart(found.target)


def assigned_at_the_target_only(found: Broken) -> None:
    """Break the migration between its last two commands, and fail the source over."""
    rest = NAMES[AHEAD:]
    source, target = found.clients[found.source], found.clients[found.target]
    source.execute_command("MIGRATE", "127.0.0.1", found.target.port, "", 0, 5000, "KEYS", *rest)
    target.execute_command("CLUSTER SETSLOT", SLOT, "NODE", known_to(source, target).identity)
    found.fail_over(found.source, killed=False)


def forgotten_by_both(found: Broken) -> None:
    """Close the slot at both sides, as an operator may do without a look for its keys."""
    for side in (found.source, found.target):
        found.clients[side].execute_command("CLUSTER SETSLOT", SLOT, "STABLE")


EVENTS: dict[str, Callable[[Broken], None]] = {
    "nothing": lambda _: None,
    "target planned": lambda found: fail(found, "target", killed=False),
    "target killed": lambda found: fail(found, "target", killed=True),
    "target killed and back": killed_and_back,
    "source planned": lambda found: fail(found, "source", killed=False),
    "source killed": lambda found: fail(found, "source", killed=True),
    "both planned": lambda found: fail(found, "source", "target", killed=False),
    "both planned, target first": lambda found: fail(found, "target", "source", killed=False),
    "assigned at the target only": assigned_at_the_target_only,
    "forgotten by both": forgotten_by_both,
}


@pytest.mark.parametrize(
    "event",
    [event if event == "forgotten by both" else pytest.param(event, marks=pytest.mark.slow) for event in EVENTS],
)
def test_repair(broken: Broken, event: str) -> None:
    """All keys are readable after the repair, and no slot is open."""
    open_it(broken)
    EVENTS[event](broken)
    prepared(broken.settled)
    close_open_slots(broken.alive())
    assert_readable(broken)


def assert_readable(found: Broken) -> None:
    """Require that a new client reads all keys, and that no slot is open, within 3 seconds."""
    urls = [node for node in found.cluster.nodes if node not in found.dead]

    def check() -> None:
        with found.cluster.client() as client:
            seen: Sequence[Any] = [client.get(name) for name in NAMES]
        missing = seen.count(None)
        assert not missing, f"{missing} of {len(NAMES)} keys are not readable ({len(urls)} nodes)"
        assert open_slots(found.alive()) == []
        states = [str(node.execute_command("CLUSTER", "INFO")) for node in found.alive()]
        assert all("cluster_state:ok" in state for state in states)

    WorkersClock().eventually(check, within=3, also=(RedisError, RedisClusterException))


def readable(found: Broken) -> set[bytes]:
    """Return the keys that a new client reads within 3 seconds."""
    seen: set[bytes] = set()

    def all_of_them() -> bool:
        seen.clear()
        with found.cluster.client() as client:
            for name in NAMES:
                with suppress(RedisError, RedisClusterException):
                    seen.update({name} if client.get(name) is not None else ())
        return len(seen) == len(NAMES)

    with suppress(AssertionError):
        WorkersClock().eventually(all_of_them, within=3, also=(RedisError, RedisClusterException))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS)
def test_repair_beside_the_command_line_client(
    broken: Broken, group: ForkingGroup, engine: str | None, event: str
) -> None:
    """``redis-cli --cluster fix`` makes no key readable that this repair does not, in the same broken state."""
    tool = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if tool is None:
        pytest.skip("needs valkey-cli or redis-cli on the PATH")
    with cluster_with_keys(group, engine) as twin:
        for one in (broken, twin):
            open_it(one)
            EVENTS[event](one)
            prepared(one.settled)
        close_open_slots(broken.alive())
        node = next(node for node in twin.cluster.nodes if node not in twin.dead)
        options = ["--cluster-yes", "--cluster-fix-with-unreachable-masters"]
        ended = subprocess.run(
            [tool, "--cluster", "fix", node.address, *options], capture_output=True, text=True, timeout=60, check=False
        )
        ours, theirs = readable(broken), readable(twin)
    assert theirs - ours == set(), ended.stdout[-2000:]
    assert ours == set(NAMES)


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - it has the name of Celery's
    """The exception that a signal raises between two instructions."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python ignores it in __del__
@pytest.mark.parametrize("key_by_key", [True, False])
def test_interrupted_moves(broken: Broken, *, key_by_key: bool) -> None:
    """A move that a signal interrupts at any moment leaves what the repair can close, and a later move works."""
    draw, interrupted = random.Random(1), 0
    source, target = broken.clients[broken.source], broken.clients[broken.target]

    def interrupt(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(25):
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-4, 0.02))
            try:
                move_slots([SLOT], source, target, broken.alive(), key_by_key=key_by_key)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except SoftTimeLimitExceeded:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            prepared(lambda node=source: not is_moving(node))  # type: ignore[misc]
            close_open_slots(broken.alive())
            assert_readable(broken)
            if SLOT in itself(target).slots:
                source, target = target, source
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 5


@pytest.mark.slow
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "planned"])
def test_atomic_move_and_a_failover(broken: Broken, side: str, *, killed: bool) -> None:
    """An atomic move whose source or target fails over in the middle moves all keys, or none."""
    source, target = broken.clients[broken.source], broken.clients[broken.target]
    if atomic_interface(source) is None:
        pytest.skip("needs atomic slot migration: Valkey 9.0 or Redis 8.4")
    with broken.cluster.client() as client:
        for number in range(20):
            client.set(f"{{cart}}:filler:{number}", "x" * 2_000_000)
    outcome: list[Exception] = []

    def move() -> None:
        try:
            with broken.source.client() as here, broken.target.client() as there:
                move_slots([SLOT], here, there, [], timeout=20)
        except (ClusterError, RedisError) as error:
            outcome.append(error)

    thread = threading.Thread(target=move)
    replica = broken.replica_of(getattr(broken, side))
    broken.clients[getattr(broken, side)].wait(1, 5000)
    thread.start()
    prepared(lambda: is_moving(source) or SLOT in itself(target).slots)
    if killed:
        getattr(broken, side).kill()
        broken.dead.add(getattr(broken, side))
        prepared(lambda: not itself(replica).primary)
    else:
        fail_over(replica)
    join(thread)
    prepared(broken.settled)
    prepared(lambda: not any(is_moving(node) for node in broken.alive()))
    close_open_slots(broken.alive())
    assert_readable(broken)
