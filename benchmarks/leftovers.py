"""Kill runs of the specification at random points by SIGINT, SIGTERM and SIGKILL, and check for leaks.

The program runs in a private mount namespace with a private ``/dev/shm``. Every other process and file in it was left
by a run. New files beside the project's are a leak too. With ``--stack docker`` it checks containers, networks and
volumes. The kills so far are kept in a file, and a further call continues it. It needs Linux with namespaces for
unprivileged users.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from operator import not_
from pathlib import Path
from typing import Any

from lib import PROJECT
from lib.ending import run
from lib.left_behind import SHARED_MEMORY, clear, left
from lib.processes import tree
from lib.whole_run import in_processes, progress

from redis_practices import cli
from redis_practices.polling import poll

EXAMPLES = """\
  python benchmarks/leftovers.py
  python benchmarks/leftovers.py --kills 30 --whole
  python benchmarks/leftovers.py --kills 10 --stack docker --seed 7"""

INSIDE = "LEFTOVERS_INSIDE"
"""The variable that is set inside the namespace."""

GONE_WITHIN = 25.0
"""Seconds: on Docker the guard removes containers."""

WHOLE = "features/"
TWO, NONE = " ".join(in_processes(2)), " ".join(in_processes(0))
RUNS = {
    "embedded": (
        WHOLE,
        f"features/pure_cache/data_path.feature features/redis_cluster/failover.feature {TWO}",
        f"features/celery_worker/processing.feature features/celery_worker/delivery.feature {TWO}",
        f"features/gate/verdict.feature features/gate/scripts.feature {TWO}",
        f"features/celery_worker/processing.feature {NONE}",
    ),
    "docker": (
        f"features/pure_cache/data_path.feature features/celery_worker/processing.feature --stack=docker {TWO}",
    ),
}


def start(arguments: str, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a run in a new process group, as an interactive shell does."""
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
    """Send a signal to the run, to its group, or to one of its processes; return the receiver."""
    if target == "group":
        os.killpg(run.pid, number)
        return "its whole group"
    workers = [one.pid for one in tree(run.pid)[1:] if os.getpgid(one.pid) == run.pid]
    if target == "worker" and workers:
        with suppress(ProcessLookupError):  # it has just ended, as each does after some seconds
            os.kill(random.choice(workers), number)
            return "a process of it"
    run.send_signal(number)
    return "the run"


def trial(stack: str, lengths: dict[str, float], temporary: Path) -> tuple[str, list[str]]:
    """Kill one run at a random point; return a description, and the leaks after `GONE_WITHIN`."""
    arguments = random.choice(list(lengths))
    number = random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
    target = "group" if number is signal.SIGINT else random.choice(("run", "worker"))
    run = start(arguments, temporary)
    moment = random.uniform(0, lengths[arguments])
    with suppress(subprocess.TimeoutExpired):
        run.wait(moment)
    receiver = "no process: the run had ended"
    if run.poll() is None:
        with suppress(ProcessLookupError):
            receiver = end(run, number, target)
    with suppress(subprocess.TimeoutExpired):
        run.wait(120)
    found = poll(lambda: left(temporary, run.pid, stack), GONE_WITHIN, every=0.2, until=not_)
    return f"{number.name} to {receiver} after {moment:.1f} s: {arguments}", found


MOST_SECONDS = 1800.0
"""The longest duration in seconds of a run without a kill."""


def measure(runs: Sequence[str], stack: str, temporary: Path) -> dict[str, float]:
    """Return the duration of each complete run, which must not leave anything either (Failure)."""
    lengths = {}
    for arguments in runs:
        progress(f"how long it takes: {arguments}")
        begun = time.monotonic()
        run = start(arguments, temporary)
        run.wait(MOST_SECONDS)
        lengths[arguments] = time.monotonic() - begun
        time.sleep(1)
        if found := left(temporary, run.pid, stack):
            raise cli.Failure(f"a complete run has left {'; '.join(found)}")
    return lengths


class Journal:
    """The file of the kills so far: a line with the lengths of the runs, then one for each kill."""

    def __init__(self, file: Path) -> None:
        """Read the file, if it exists."""
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        entries = [json.loads(line) for line in lines]
        self.lengths: dict[str, float] | None = entries[0]["lengths"] if entries else None
        self.kills: list[dict[str, Any]] = entries[1:]

    def add(self, **entry: Any) -> None:
        """Append a line."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--kills", type=cli.count, default=50, help="how many in the end, earlier calls included")
    parser.add_argument("--stack", choices=tuple(RUNS), default="embedded", help="default: embedded")
    parser.add_argument("--whole", action="store_true", help="kill only runs of the whole specification")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="of moments and signals")
    parser.add_argument("--folder", type=Path, default=PROJECT / "results" / "leftovers", help="of the file of kills")
    return parser.parse_args()


def main() -> None:
    """Kill runs, and list what they left."""
    options = parse()
    if INSIDE not in os.environ:
        inside = f'mount -t tmpfs -o mode=1777 none {SHARED_MEMORY} && exec "$0" "$@"'
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "-Urm", "sh", "-c", inside, sys.executable, *sys.argv])  # noqa: S606, S607
    random.seed(options.seed)
    temporary = SHARED_MEMORY / "temporary"
    temporary.mkdir()
    journal = Journal(options.folder / f"{options.stack}{'-whole' if options.whole else ''}.jsonl")
    if journal.lengths is None:
        whole = WHOLE if options.stack == "embedded" else f"{WHOLE} --stack={options.stack}"
        journal.lengths = measure([whole] if options.whole else RUNS[options.stack], options.stack, temporary)
        journal.add(lengths=journal.lengths)
    bad = sum(bool(kill["left"]) for kill in journal.kills)
    for number in range(len(journal.kills) + 1, options.kills + 1):
        progress(f"kill {number} of {options.kills}")
        done, found = trial(options.stack, journal.lengths, temporary)
        progress()
        journal.add(seed=options.seed, kill=done, left=found)
        print(f"{number:3} {'LEFT' if found else 'ok  '} {done}", *found, sep="\n      ", flush=True)
        bad += bool(found)
        clear(temporary)
    if bad:
        raise cli.Failure(f"{bad} of {options.kills} runs left something (seed {options.seed})")
    print(f"{options.kills} kills of runs left nothing")


if __name__ == "__main__":
    run(main)
