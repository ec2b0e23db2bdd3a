"""Judge 10 running Celery workers under load again and again, and look for anything that is left behind.

Tasks are sent all the time, and every few seconds a worker is restarted. Each run is ``pytest features/celery_worker
--quick -m workers --workers``. When the load has ended, nothing of a run may be left: no key, no member of a binding,
no channel, no message. What a killed worker held waits for the visibility timeout.

With ``--beside`` the whole `--quick` of the broker runs in turn without and with ``--workers``: the price in seconds.
"""

from __future__ import annotations

import random
import re
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from redis import Redis
from redis.utils import str_if_bytes

from lib.ending import run
from lib.side_by_side import caption
from lib.whole_run import progress

from fixtures.gate.defects import USUAL, Builder
from fixtures.gate.deployment_under_test import DeploymentUnderTest
from fixtures.gate.worker_scenes import Case, Program, Scene, staged
from fixtures.run.processes import ForkingGroup
from redis_practices import cli
from redis_practices.polling import poll
from redis_practices.servers.server import server_binary, start_server

EXAMPLES = """\
  python benchmarks/running_workers.py
  python benchmarks/running_workers.py --runs 10 --beside 5"""

ENDLESS = {"task_soft_time_limit": ..., "task_time_limit": ...}
"""Settings of a pool that enforces no limit."""

WORKERS = Case(
    "",
    (
        *[Program(flags="-c 2 -Q celery,mail")] * 5,
        *[Program(ENDLESS, flags="-P threads -c 4 -Q celery,mail")] * 4,
        Program(ENDLESS, flags="-P solo -Q celery"),
    ),
)
"""Ten workers of one app, in three kinds of pools."""

RATE, RESTART = 0.02, 4.0
"""Seconds between two bursts of 2 tasks, and between two restarts."""

GRACE = 10.0
"""Seconds for a warm end. A worker of Celery 5.6.3 that gives a task back may never end, and is killed then."""

OWN = re.compile(r"practices|redis_practices")
"""What the names of a run hold."""

FAMILIES = re.compile(
    r"_kombu\.binding\.(celery|mail|celeryev|celery\.pidbox|reply\.celery\.pidbox)|_kombu\.binding_\w+(\.\w+)?|celery|mail"
    r"|unacked\w*|celery-task-meta-\S+|\S+\.celery\.pidbox"
)
"""The names of the workers' own keys."""


class Load:
    """Tasks that are sent, and workers that are restarted, until the block ends."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.sent, self.restarts, self.killed = scene, 0, 0, 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._restart)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        app = self.scene.app()
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            while not self._over.wait(RATE):
                for name, arguments, queue in (("add", [1, 2], "celery"), ("sleep", [0.02], "mail")):
                    app.send_task(f"shop.{name}", arguments, producer=producer, queue=queue, ignore_result=True)
                    self.sent += 1

    def _restart(self) -> None:
        while not self._over.wait(RESTART):
            place = random.randrange(len(self.scene.processes))
            self.scene.stop(place, signal.SIGTERM)
            try:
                self.scene.processes[place].wait(GRACE)
            except subprocess.TimeoutExpired:
                self.scene.stop(place)
                self.killed += 1
            (self.scene.group.folder / f"{place}.log").write_text("")
            self.scene.start(place)
            self.restarts += 1

    def close(self) -> None:
        """End the load."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def left(client: Redis) -> Iterator[str]:
    """Yield what is on the broker that is not the workers' own."""
    for key in client.scan_iter(count=1000):
        if OWN.search(key) or not FAMILIES.fullmatch(key):
            yield f"key {key!r} (ttl {client.ttl(key)})"
        elif client.type(key) == "set":
            yield from (f"member {one!r} of {key}" for one in client.smembers(key) if OWN.search(str_if_bytes(one)))
    yield from (f"channel {one!r}" for one in client.pubsub_channels() if OWN.search(str_if_bytes(one)))
    for queue in ("celery", "mail"):
        if length := client.llen(queue):
            yield f"{length} messages in {queue}"
    yield from (f"unacknowledged {one!r:.200}" for one in client.hvals("unacked") if OWN.search(str_if_bytes(one)))


@contextmanager
def workers() -> Iterator[tuple[Scene, DeploymentUnderTest]]:
    """Run a broker with the ten workers."""
    with ExitStack() as ending:
        group = ending.enter_context(ForkingGroup())
        binary = server_binary(None)
        server = start_server(group, USUAL["broker"], binary=binary)
        gate = DeploymentUnderTest(Builder(group, ending, binary), "broker", server.url)
        yield ending.enter_context(staged(WORKERS, server.url)), gate


def judged(gate: DeploymentUnderTest, options: str) -> tuple[float, str]:
    """Run the gate, and return its seconds and what failed."""
    begun = time.monotonic()
    with ForkingGroup() as group:
        gate.judge(group.folder, options)
    failed = gate.ended("failed") | gate.ended("error")
    return time.monotonic() - begun, "; ".join(f"{name}: {reason}" for name, reason in failed.items())


def under_load(runs: int) -> bool:
    """Judge the workers under load `runs` times, and tell whether all was well."""
    verdicts, seconds, wrong = Counter[str](), list[float](), list[str]()
    with workers() as (scene, gate):
        with closing(Load(scene)) as load:
            for number in range(runs):
                progress(f"run {number + 1} of {runs}")
                spent, failed = judged(gate, "--quick -m workers --workers")
                seconds.append(spent)
                verdicts[gate.report["verdict"]] += 1
                wrong += [f"run {number + 1}: {failed}"] if failed else []
        progress()
        poll(lambda: [*left(scene.client)], 60.0, until=lambda found: not found)
        remaining, held = [*left(scene.client)], scene.client.hlen("unacked")
    print(f"{runs} runs, verdicts {dict(verdicts)}, {statistics.median(seconds):.1f} s each (median)")
    print(f"load: {load.sent} tasks sent, {load.restarts} workers restarted, {load.killed} of them killed")
    waiting = f"{held} tasks of killed workers wait for the visibility timeout"
    print(*wrong, *[waiting] * bool(held), f"left behind: {len(remaining)}", *remaining, sep="\n")
    return not (wrong or remaining)


def beside(rounds: int) -> None:
    """Measure the whole `--quick` without and with ``--workers``."""
    seen: dict[str, list[float]] = {"--quick": [], "--quick --workers": []}
    with workers() as (_, gate):
        for _ in range(rounds):
            for options, values in seen.items():
                values.append(judged(gate, f"{options} --processes 2")[0])
    for options, values in seen.items():
        print(
            f"{options:20} {statistics.median(values):6.1f} s (median of {rounds};"
            f" {min(values):.1f} to {max(values):.1f})"
        )
    print(caption())


def main() -> None:
    """Judge, and say what was left."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--runs", type=cli.count, default=100, help="under load")
    parser.add_argument("--beside", type=cli.count, metavar="N", help="pairs of runs that show the price of --workers")
    options = parser.parse_args()
    well = under_load(options.runs)
    if options.beside:
        beside(options.beside)
    if not well:
        raise cli.Failure("a run has refused sound workers, or has left something behind")


if __name__ == "__main__":
    run(main)
