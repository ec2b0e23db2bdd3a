"""End runs of the specification at random moments by SIGINT, SIGTERM and SIGKILL, and look for what they leave.

The program lives in a mount namespace of its own, with a ``/dev/shm`` of its own: every other process in there, and
every file, was left by a run. With ``--stack docker`` it looks for containers, networks and volumes too. Needs Linux
with namespaces for everybody.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from operator import not_
from pathlib import Path

from lib import PROJECT
from lib.ending import run
from lib.left_behind import SHARED_MEMORY, clear, left
from lib.processes import tree
from lib.whole_run import progress

from redis_practices import cli
from redis_practices.polling import poll

EXAMPLES = """\
  python benchmarks/leftovers.py
  python benchmarks/leftovers.py --kills 10 --stack docker --seed 7"""

INSIDE = "LEFTOVERS_INSIDE"
"""The variable that says that the program is in its namespace already."""

GONE_WITHIN = 25.0
"""Seconds: a process of xdist takes up to 15 to notice that nobody listens any more; on Docker the guard removes."""

RUNS = {
    "embedded": (
        "features/pure_cache/data_path.feature features/redis_cluster/failover.feature -n 2",
        "features/celery_worker/processing.feature features/celery_worker/delivery.feature -n 2",
        "features/gate/verdict.feature features/gate/scripts.feature -n 2",
        "features/celery_worker/processing.feature -n 0",
    ),
    "docker": ("features/pure_cache/data_path.feature features/celery_worker/processing.feature --stack=docker -n 2",),
}


def start(arguments: str, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a run in a group of its own, as a shell at a terminal does."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "pytest", "-q", *arguments.split()]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        process_group=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end(run: subprocess.Popen[bytes], number: signal.Signals, target: str) -> str:
    """Send a signal to the run, to its group, or to one of its xdist processes; return who got it."""
    if target == "group":
        os.killpg(run.pid, number)
        return "its whole group"
    workers = [one.pid for one in tree(run.pid)[1:] if os.getpgid(one.pid) == run.pid]
    if target == "worker" and workers:
        pid = random.choice(workers)
        os.kill(pid, number)
        return "a process of it"
    run.send_signal(number)
    return "the run"


def trial(stack: str, lengths: dict[str, float], temporary: Path) -> tuple[str, list[str]]:
    """End one run at a random moment; return what was done, and what is left when the time is up."""
    arguments = random.choice(RUNS[stack])
    number = random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
    target = "group" if number is signal.SIGINT else random.choice(("run", "worker"))
    run = start(arguments, temporary)
    moment = random.uniform(0, lengths[arguments])
    with suppress(subprocess.TimeoutExpired):
        run.wait(moment)
    who = "nobody: it had ended"
    if run.poll() is None:
        with suppress(ProcessLookupError):
            who = end(run, number, target)
    with suppress(subprocess.TimeoutExpired):
        run.wait(120)
    found = poll(lambda: left(temporary, run.pid, stack), GONE_WITHIN, every=0.2, until=not_)
    return f"{number.name} to {who} after {moment:.1f} s: {arguments}", found


MOST_SECONDS = 1800.0
"""Seconds that a run may take which nothing ends."""


def measure(stack: str, temporary: Path) -> dict[str, float]:
    """Return how long each run takes when nobody ends it; it must leave nothing either (Failure)."""
    lengths = {}
    for arguments in RUNS[stack]:
        progress(f"how long it takes: {arguments}")
        begun = time.monotonic()
        run = start(arguments, temporary)
        run.wait(MOST_SECONDS)
        lengths[arguments] = time.monotonic() - begun
        time.sleep(1)
        if found := left(temporary, run.pid, stack):
            raise cli.Failure(f"a run that came to its end has left {'; '.join(found)}")
    return lengths


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--kills", type=cli.count, default=50, help="default: 50")
    parser.add_argument("--stack", choices=tuple(RUNS), default="embedded", help="default: embedded")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="of moments and signals")
    return parser.parse_args()


def main() -> None:
    """End runs, and list what they left."""
    options = parse()
    if INSIDE not in os.environ:
        inside = f'mount -t tmpfs -o mode=1777 none {SHARED_MEMORY} && exec "$0" "$@"'
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "-Urm", "sh", "-c", inside, sys.executable, *sys.argv])  # noqa: S606, S607
    random.seed(options.seed)
    temporary = SHARED_MEMORY / "temporary"
    temporary.mkdir()
    lengths, bad = measure(options.stack, temporary), 0
    for index in range(options.kills):
        progress(f"kill {index + 1} of {options.kills}")
        done, found = trial(options.stack, lengths, temporary)
        progress()
        print(f"{index + 1:3} {'LEFT' if found else 'ok  '} {done}", *found, sep="\n      ", flush=True)
        bad += bool(found)
        clear(temporary)
    if bad:
        raise cli.Failure(f"{bad} of {options.kills} runs left something (seed {options.seed})")


if __name__ == "__main__":
    run(main)
