"""Rehearse the Indexed Job of several judges without Kubernetes: examples/kubernetes-judges.yaml, as processes.

Each judge runs the command of the manifest. The judges share only what a Job gives them: the index, the number of
judges, the URL, and the folder of the results. Each has its home, folder and TMPDIR. Like the Job, the program runs a
killed judge again, and no judge that has refused. In one rehearsal a judge is killed, and another begins late. In one a
judge is killed each time. In one a judge has the URL of another cluster. If the joined verdict does not say so, the
exit code is 1.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lib import PROJECT
from lib.ending import run

from redis_practices import cli
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.process_group import ProcessGroup

EXAMPLES = """\
  python benchmarks/rehearse_job.py
  python benchmarks/rehearse_job.py --judges 8 late"""

MANIFEST = PROJECT / "examples" / "kubernetes-judges.yaml"

DEADLINE = 300.0
"""Seconds for one rehearsal."""

LATE, WAIT, SHORT = 10.0, 120, 3
"""Seconds by which a judge begins late, and for which the first one waits for others: long, or in vain."""

FEWEST = 3
"""Judges: one joins the parts, one is killed, one begins late or sees another cluster."""

SHIM = f"""\
#!/bin/sh
exec {sys.executable} -m redis_practices "$@"
"""
"""The command of the image, from this checkout."""


@dataclass
class Pod:
    """One run of a judge: a process group in its own folder."""

    index: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> list[str]:
        """The lines of its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()

    def kill(self) -> None:
        """Kill it as a node without memory does."""
        os.killpg(self.process.pid, signal.SIGKILL)


@dataclass
class Job:
    """An Indexed Job: its Pods, and how often each index has failed."""

    spec: Mapping[str, Any]
    folder: Path
    judges: int
    wait: int
    urls: Callable[[int], str]
    """The URL of a judge; a Secret gives all of them the same."""
    late: int | None = None
    """The index that begins late."""
    killed: Mapping[int, int] = field(default_factory=dict)
    """How often Pods of an index are killed."""
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    pods: list[Pod] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    """The last exit code of each index that is not run again."""

    @property
    def results(self) -> Path:
        """The volume of the results."""
        return self.folder / "results"

    def start(self, index: int) -> None:
        """Start a Pod with the variables of the manifest and of the Job, and nothing else."""
        attempt = sum(pod.index == index for pod in self.pods)
        home = self.folder / f"pod-{index}-{attempt}"
        for name in ("home", "tmp", "cwd"):
            (home / name).mkdir(parents=True)
        [container] = self.spec["template"]["spec"]["containers"]
        command = [part.replace("/results", str(self.results)) for part in (*container["command"], *container["args"])]
        command = [re.sub(r"--wait \d+", f"--wait {self.wait}", part) for part in command]
        environment = {
            **{one["name"]: self.value(one, index) for one in container["env"]},
            "JOB_COMPLETION_INDEX": str(index),
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT / "src"),
            "PYTHONSAFEPATH": "1",
        }
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=home / "cwd", env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.pods.append(Pod(index, home, process))

    def value(self, variable: Mapping[str, Any], index: int) -> str:
        """Return the value of a variable of the manifest."""
        if variable["name"] == "JOB_COMPLETIONS":
            return str(self.judges)
        source = variable.get("valueFrom", {})
        return self.urls(index) if "secretKeyRef" in source else self.run_id if source else str(variable["value"])

    def has_begun(self, pod: Pod) -> bool:
        """Tell whether a Pod has written the first report of its part."""
        report = self.results / self.run_id / "parts" / str(pod.index) / "report.json"
        return report.exists() and report.stat().st_mtime > (pod.folder / "home").stat().st_mtime

    def run(self) -> None:
        """Run all indexes to their end, as the Job controller does (Failure after the deadline)."""
        begun, waiting = time.monotonic(), [index for index in range(self.judges) if index != self.late]
        killed = dict(self.killed)
        while waiting or len(self.ended) < self.judges:
            while waiting:
                self.start(waiting.pop(0))
            if self.late is not None and time.monotonic() > begun + LATE:
                waiting, self.late = [self.late], None
            for pod in [pod for pod in self.pods if pod.process.returncode is None]:
                if killed.get(pod.index) and self.has_begun(pod):
                    killed[pod.index] -= 1
                    pod.kill()
                    pod.process.wait()
                if pod.process.poll() is not None and self.is_again(pod):
                    waiting.append(pod.index)
            if time.monotonic() > begun + DEADLINE:
                raise cli.Failure(f"the Job has not ended after {DEADLINE:g} s: {sorted(self.ended)} of {self.judges}")
            time.sleep(0.1)

    def is_again(self, pod: Pod) -> bool:
        """Tell whether the Job runs an index again after the end of its Pod."""
        code = pod.process.returncode
        rules = self.spec["podFailurePolicy"]["rules"]
        final = [number for rule in rules for number in rule.get("onExitCodes", {}).get("values", ())]
        failed = sum(other.index == pod.index for other in self.pods)
        if code == 0 or code in final or failed > self.spec["backoffLimitPerIndex"]:
            self.ended[pod.index] = code
            return False
        return True

    def stop(self) -> None:
        """Kill what still runs."""
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.kill()
                pod.process.wait()

    @property
    def verdict(self) -> list[str]:
        """The lines of the joined verdict, in the log of the last Pod of the first index."""
        return [line for line in self.last(0).log if line.startswith(("verdict:", "error:"))][-4:]

    def last(self, index: int) -> Pod:
        """Return the last Pod of an index."""
        return [pod for pod in self.pods if pod.index == index][-1]


@dataclass(frozen=True)
class Rehearsal:
    """What happens to the judges, and what the joined verdict must say."""

    what: str
    says: str
    """Words of the log of the first judge."""
    completes: bool = False
    """Whether the Job completes."""
    wait: int = WAIT
    late: int | None = None
    killed: Mapping[int, int] = field(default_factory=dict)
    strange: int | None = None
    """The judge with the URL of another cluster."""


REHEARSALS = {
    "late": Rehearsal(
        "one judge is killed and run again, one begins late",
        r"verdict: (accepted|partial) .*/verdict/report.json",
        completes=True,
        late=2,
        killed={1: 1},
    ),
    "gone": Rehearsal(
        "one judge is killed each time",
        r"error: judge 1 of \d+ (has not ended|is missing).*: run it",
        wait=SHORT,
        killed={1: 3},
    ),
    "stranger": Rehearsal(
        "one judge sees another cluster", r"error: judge 2 of \d+ asked another cluster than judge 0", strange=2
    ),
}


def rehearse(rehearsal: Rehearsal, folder: Path, judges: int, urls: Sequence[str]) -> bool:
    """Run a Job, print what happened, and tell whether the Job and its verdict are as they must be."""
    [_, document] = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "redis-practices").write_text(SHIM, encoding="utf-8")
    (folder / "redis-practices").chmod(0o755)
    job = Job(
        document["spec"],
        folder,
        judges,
        rehearsal.wait,
        lambda index: urls[index == rehearsal.strange],
        rehearsal.late,
        rehearsal.killed,
    )
    begun = time.monotonic()
    try:
        job.run()
    finally:
        job.stop()
    log = job.last(0).log
    completes = not any(job.ended.values())
    says = [line for line in log if re.search(rehearsal.says, line)]
    print(f"{rehearsal.what}: {len(job.pods)} Pods, {time.monotonic() - begun:.0f} s")
    print(f"  the Job {'completes' if completes else 'fails'}; {says[-1] if says else log[-1:]}", flush=True)
    if says and completes is rehearsal.completes:
        return True
    print(f"  it must {'complete' if rehearsal.completes else 'fail'}, and say {rehearsal.says}")
    for pod in job.pods:
        print(f"  Pod {pod.index}: {pod.process.returncode}, {pod.log[-5:]}")
    return False


def main() -> None:
    """Rehearse, and exit with 1 if a rehearsal did not go as it must."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("rehearsals", metavar="NAME", nargs="*", help=f"{', '.join(REHEARSALS)} (default: all)")
    parser.add_argument("--judges", metavar="N", type=cli.count, default=4, help="how many judges, 3 at least")
    given = parser.parse_args()
    names = given.rehearsals or [*REHEARSALS]
    if unknown := next((name for name in names if name not in REHEARSALS), None):
        raise cli.UsageError(f"{unknown!r} is no rehearsal: {', '.join(REHEARSALS)}")
    if given.judges < FEWEST:
        raise cli.UsageError(f"--judges {given.judges}: the rehearsals need {FEWEST} judges at least")
    with ExitStack() as ending:
        group = ending.enter_context(ProcessGroup("job"))
        urls = [start_cluster(group).url for _ in range(2)]
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="job-")))
        fine = [rehearse(REHEARSALS[name], folder / name, given.judges, urls) for name in names]
    if not all(fine):
        raise cli.Failure("a rehearsal did not go as it must")


if __name__ == "__main__":
    run(main)
