"""Test that judges on several machines keep ``--max-ops`` together, by a bucket in the deployment they judge."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_command, gate_environment
from fixtures.gate.spoiling import create_user
from fixtures.run.own_time import Stopwatch, busy_seconds
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.command_guard import guard
from fixtures.stacks.external.rate_limit import BUCKET, KEY, LIFE, LOST, VARIABLE, Bucket, CutOffError, RateLimit
from gate_user import BUDGET
from redis_practices.cli import Failure
from redis_practices.clients import cluster_client, redis_client
from redis_practices.polling import eventually
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import CACHE, Server, start_server

JUDGES, SECONDS = 8, 3.0

OWN, IN_SCRIPT = {"eval", "incrby", "expire"}, {"time", "get", "set"}
"""The commands to the bucket, besides ``TIME``; and those of its script, which servers count as well."""

CONNECT = ("-@all", "+auth", "+hello", "+ping", "+client|setinfo", "+cluster|slots")
"""The rights to connect, without a right to keys."""


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """Give a group for servers."""
    with ProcessGroup() as group:
        yield group


def limited(place: Path, rate: int, url: str, **bucket: Any) -> RateLimit:
    """Return the rate limit of one judge, in its file."""
    return RateLimit(f"{rate}:{place}", Bucket(url, bucket.pop("in_cluster", False), rate, **bucket))


def judge(place: Path, rate: int, url: str, together: int, begin: float) -> None:
    """Read a key for `SECONDS`, as a process that shares nothing with other judges; send `together` reads at once."""
    os.environ[VARIABLE] = f"{rate}:{place}"
    guard(disrupt=False)
    time.sleep(max(0.0, begin - time.time()))
    client: Any = (cluster_client if "cluster" in place.name else redis_client)(url)
    while time.time() < begin + SECONDS:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(together):
                pipe.get("practices:read")
            pipe.execute()


def calls(servers: list[Server]) -> Counter[str]:
    """Return how often servers have executed each command."""
    found: Counter[str] = Counter()
    for server in servers:
        with server.client() as client:
            for name, seen in client.info("commandstats").items():
                found[name.removeprefix("cmdstat_")] += seen["calls"]
    return found


def judged(folder: Path, bucket: Bucket, together: int, servers: list[Server]) -> Counter[str]:
    """Let eight judges send what they may for `SECONDS`; return the number of commands that the servers executed."""
    fork = multiprocessing.get_context("fork")
    name = "cluster" if bucket.in_cluster else "server"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BUCKET, "")
        bucket.settle()
        before, begin = calls(servers), time.time() + 0.5
        asked = (bucket.rate, bucket.url, together, begin)
        processes = [fork.Process(target=judge, args=(folder / f"{name}-{n}", *asked)) for n in range(JUDGES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
    assert [process.exitcode for process in processes] == [0] * JUDGES
    return calls(servers) - before


def assert_kept(seen: Counter[str], rate: int, busy: float) -> None:
    """Require that eight judges together have kept the limit within 5 %, and that few commands were their own."""
    own = sum(seen[name] for name in OWN) + (0 if seen["eval"] else seen["time"])
    sent = seen.total() - seen["eval"] * len(IN_SCRIPT) - seen["info"]
    told = f"{sent} commands in {SECONDS:g} s, {own} of them to the bucket, and {busy:.1f} s of a busy judge: {seen}"
    assert sent <= 1.05 * rate * SECONDS, told
    assert sent >= 0.95 * rate * (SECONDS - busy), told
    assert own <= 0.1 * sent + 2 * JUDGES, told  # the last slots of each judge are not used up


@pytest.mark.parametrize(
    ("rate", "together", "scripts"),
    [(500, 1, True), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((5000, 10, True), (500, 1, False)))],
)
def test_judges_keep_one_limit(group: ProcessGroup, tmp_path: Path, rate: int, together: int, *, scripts: bool) -> None:
    """Eight judges keep one limit on a server, with scripts and with counts."""
    server, busy = start_server(group, CACHE), busy_seconds()
    seen = judged(tmp_path, Bucket(server.url, in_cluster=False, rate=rate, scripts=scripts), together, [server])
    assert_kept(seen, rate, busy_seconds() - busy)
    assert bool(seen["eval"]) is scripts


@pytest.mark.slow
def test_judges_keep_one_limit_in_a_cluster(group: ProcessGroup, tmp_path: Path) -> None:
    """Judges that read all nodes of a cluster keep their bucket in one primary."""
    cluster, busy = start_cluster(group, replicas=0), busy_seconds()
    assert_kept(
        judged(tmp_path, Bucket(cluster.url, in_cluster=True, rate=500), 1, cluster.nodes), 500, busy_seconds() - busy
    )
    assert sorted(bool(calls([server])["eval"]) for server in cluster.nodes) == [False, False, True]


@pytest.mark.parametrize("way", range(2), ids=["script", "counts"])
def test_user_of_exactly_these_rights(group: ProcessGroup, way: int) -> None:
    """The rights in src/gate_user.py are enough, and none of them can be left out."""
    server = start_server(group, CACHE)
    rights = [f"+{name}" for name in BUDGET[way]]
    url = server.url.replace("//", "//judge:secret@")
    create_user([server], "judge", "secret", [*CONNECT, *rights, f"~{KEY}*"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BUCKET, "")
        assert Bucket(url, in_cluster=False, rate=500).settle().scripts is (way == 0)
        for right in rights:
            create_user([server], "judge", "secret", [*CONNECT, *(one for one in rights if one != right), f"~{KEY}*"])
            with pytest.raises(Failure, match=r"refuses a command to this user: .*; it needs EVAL, or TIME"):
                Bucket(url, in_cluster=False, rate=500).settle()


@pytest.mark.parametrize("scripts", [True, False])
def test_keys_have_a_ttl(group: ProcessGroup, *, scripts: bool) -> None:
    """Each key of the bucket has a ttl."""
    server = start_server(group, CACHE)
    Bucket(server.url, in_cluster=False, rate=500, scripts=scripts).take()
    with server.client() as client:
        assert [0 < client.ttl(key) <= LIFE for key in client.scan_iter()] == [True]


def test_killed_server_stops_a_judge(group: ProcessGroup, tmp_path: Path) -> None:
    """A judge that is cut off sends nothing more, in all of its processes, and names the server."""
    server = start_server(group, CACHE)
    limit = limited(tmp_path / "one", 500, server.url)
    for _ in range(Bucket(server.url, in_cluster=False, rate=500).batch):
        limit.wait()
    server.kill()
    begun = time.monotonic()
    with pytest.raises(CutOffError, match=f"cut off from .*: 127.0.0.1:{server.port} refuses the connection"):
        limit.wait()
    assert time.monotonic() - begun < LOST + 3
    another, begun = limited(tmp_path / "one", 500, server.url), time.monotonic()
    with pytest.raises(CutOffError, match="cut off from"):
        another.wait()
    assert time.monotonic() - begun < 1
    scenario = limit.pytest_runtest_call()
    next(scenario)
    with pytest.raises(pytest.exit.Exception, match="cut off from"):
        next(scenario)


def test_too_many_judges_stop(group: ProcessGroup, tmp_path: Path) -> None:
    """A judge whose slots are too far in the future stops, and says what to change."""
    server = start_server(group, CACHE)
    with server.client() as client:
        client.set(KEY, client.time()[0] * 1_000_000 + 3_600_000_000, px=5000)
    with pytest.raises(CutOffError, match=r"all slots of --max-ops are taken for 30 s: give a higher number, or let"):
        limited(tmp_path / "one", 500, server.url).wait()


def test_waits_are_the_judges_own(group: ProcessGroup, tmp_path: Path) -> None:
    """Questions to the bucket, and waits for its slots, are no time of the deployment."""
    limit = limited(tmp_path / "one", 100, start_server(group, CACHE).url)
    begun, watch = time.monotonic(), Stopwatch()
    for _ in range(40):
        limit.wait()
    passed, seen = time.monotonic() - begun, watch.seconds()
    assert passed > 0.3
    assert seen < 0.1


FEW = 5
"""Calls of scripts after which a run has begun with its scenarios."""


def test_cut_off_run_has_no_verdict(group: ProcessGroup, tmp_path: Path) -> None:
    """A judge of several that loses the bucket ends with one line, and neither accepts nor refuses."""
    server, log = start_server(group, CACHE), tmp_path / "log"
    command = gate_command("cache", server.url, tmp_path / "results", "--quick --shard 0/2 --max-ops 100")
    with ForkingGroup() as programs:
        run = programs.start_python(command[2], command[3:], log, cwd=PROJECT, env=gate_environment())
        eventually(lambda: calls([server])["eval"] > FEW, within=60)
        with server.client() as client:
            client.execute_command("ACL SETUSER", "default", "-eval")
        assert run.wait(60) == pytest.ExitCode.INTERRUPTED, log.read_text(encoding="utf-8")
    report = json.loads((tmp_path / "results" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "error"
    assert "this judge is cut off from the --max-ops of all judges" in report["troubles"][0]
    assert "refuses a command to this user" in report["troubles"][0]
    assert not report["part"]["ended"]


def test_one_judge_needs_no_bucket(group: ProcessGroup, tmp_path: Path) -> None:
    """Without other judges the limit is a file of this machine, and the deployment holds no key for it."""
    server = start_server(group, CACHE)
    command = gate_command("cache", server.url, tmp_path / "results", "-k cache-022 --max-ops 5000")
    with ForkingGroup() as programs:
        programs.start_python(command[2], command[3:], tmp_path / "log", cwd=PROJECT, env=gate_environment()).wait(60)
    seen = calls([server])
    assert seen["set"] > 0
    assert seen["eval"] == 1, "it tries once whether the server runs scripts"
