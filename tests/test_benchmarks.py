"""Test benchmarks: they end with their child processes, charge every process, and name the command of each figure."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures import PROJECT
from redis_practices.polling import poll
from redis_practices.servers.server import engine_of, server_binary


def _below(pid: int) -> set[int]:
    """Return the running descendants of a process."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, more = set[int](), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def _runs(pid: int) -> bool:
    """Tell whether a process runs and is no zombie."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("command", "processes"),
    [
        pytest.param(["cluster_scale.py", "--sizes", "3", "--seconds", "60"], 4, id="a sleep beside servers"),
        pytest.param(
            ["celery_kills.py", "--orders", "200000"],
            6,
            id="threads that publish, and workers",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["gate_time.py", "--processes=1", "features/pure_cache/expiry.feature"],
            4,
            id="a run of pytest",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sigterm_ends_it(command: list[str], processes: int, tmp_path: Path) -> None:
    """A benchmark ends within 10 s of SIGTERM, with code 143 or by its alarm, and leaves no process."""
    said = (tmp_path / "said").open("w+")
    program = subprocess.Popen(
        [sys.executable, f"benchmarks/{command[0]}", *command[1:]],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
    )
    try:
        started = poll(lambda: _below(program.pid), 30.0, until=lambda seen: len(seen) >= processes)
        assert len(started) >= processes, "it has not begun"
        time.sleep(1.0)
        started |= _below(program.pid)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10.0) in (128 + signal.SIGTERM, -signal.SIGALRM), (tmp_path / "said").read_text()
        left = poll(lambda: [pid for pid in started if _runs(pid)], 5.0, until=lambda seen: not seen)
        assert not left, "processes that it started still run"
    finally:
        program.kill()
        program.wait(10.0)
        said.close()


LINGERS = """
import sys, time

sys.path[:0] = ["benchmarks", "."]
from lib.ending import run

def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        time.sleep(60)

run(main)
"""


@pytest.mark.slow
def test_alarm_ends_what_lingers() -> None:
    """A program whose blocks do not end is ended with code 143."""
    program = subprocess.Popen([sys.executable, "-c", LINGERS], cwd=PROJECT, stdout=subprocess.PIPE)
    try:
        assert program.stdout
        assert program.stdout.readline() == b"begun\n"
        program.send_signal(signal.SIGTERM)
        assert program.wait(10.0) == 128 + signal.SIGTERM
    finally:
        program.kill()
        program.communicate(timeout=10.0)


def _printed(program: str) -> Any:
    """Return the JSON that a program prints beside the benchmarks."""
    command = [sys.executable, "-c", f"import json, sys\nsys.path[:0] = ['benchmarks', 'src']\n{program}"]
    return json.loads(
        subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60).stdout
    )


def test_rule_of_the_bus_agrees_with_measurements() -> None:
    """The rule gives the messages a second that valkey 9.1.2 was seen to send, within a fifth."""
    measured = {(24, 5): 14.1, (24, 15): 3.9, (50, 2): 74, (50, 5): 27, (50, 15): 7.1}
    program = (
        "import random\nfrom lib.bus_rule import bus\n"
        f"pairs = {list(measured)}\n"
        "print(json.dumps([bus(*pair, random.Random(1))['messages/s of a node'] for pair in pairs]))"
    )
    assert _printed(program) == [pytest.approx(seen, rel=0.2) for seen in measured.values()]


def test_judgement_of_a_fault_names_what_is_missed_and_what_is_wrong() -> None:
    """A finding that is no fault, a failure that blames a shard without one, and a trouble are wrong."""
    fault = {"scenario": "cluster-003", "names": ["127.0.0.1:1", "127.0.0.1:2"], "touched": ["127.0.0.1:3"]}
    found = {"scenario_id": "cluster-003", "status": "failed", "reason": "", "findings": [{"NODE": "127.0.0.1:1"}]}
    other = {"scenario_id": "cluster-030", "status": "failed", "reason": "127.0.0.1:4 differs"}
    report = {"scenarios": [found, other, {**other, "reason": "127.0.0.1:3 differs"}], "troubles": ["it is too busy"]}
    wrong = {**found, "findings": [{"NODE": "127.0.0.1:9"}]}
    program = (
        "from faults_at_scale import Fault, outcome\n"
        f"fault = Fault(*[frozenset(part) if type(part) is list else part for part in {list(fault.values())}])\n"
        f"reports = {report}, {{'scenarios': [{wrong}], 'troubles': ['x']}}\n"
        "seen = [vars(outcome(one, fault, 1.0)) for one in reports]\n"
        "print(json.dumps(seen))"
    )
    first, second = _printed(program)
    assert first == {
        "missed": ["127.0.0.1:2"],
        "wrong": ["cluster-030: 127.0.0.1:4 differs"],
        "seconds": 1.0,
        "busy": True,
    }
    assert (second["wrong"], second["busy"]) == (["127.0.0.1:9", "trouble: x"], False)


def test_figures_are_of_scenarios() -> None:
    """docs/compatibility.md shows figures of scenarios that exist."""
    module = (PROJECT / "benchmarks/lib/engine_results.py").read_text(encoding="utf-8")
    cited = set(re.findall(r'"((?:cache|cluster|broker|tuning)-\d+)"', module))
    tags = {tag for path in PROJECT.glob("features/*/*.feature") for tag in re.findall(r"@(\S+-\d+)", path.read_text())}
    assert cited
    assert cited <= tags


DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(r"<!-- python (\S+\.py)[^\n]* -->\n(.*?)<!-- end -->\n", re.DOTALL)
CAPTION = re.compile(
    r"^Measured with \d+ cores, load [\d.]+ before and [\d.]+ after, .*, \d{4}-\d\d-\d\d\.$", re.MULTILINE
)
MADE_ELSEWHERE = {"bounds.md", "compatibility.md", "healthy.md", "VOCABULARY.md", "acceptance.md"}
"""Documents whose first lines name the program that writes the whole file; one without measurements."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_figures_name_their_command(document: Path) -> None:
    """A block of figures names a program that exists, and ends with machine, load and date."""
    text = document.read_text(encoding="utf-8")
    assert text.count("<!-- python ") == text.count("<!-- end -->") == len(BLOCK.findall(text))
    for program, figures in BLOCK.findall(text):
        assert (PROJECT / program).exists(), program
        assert CAPTION.match(figures.strip().splitlines()[-1]), f"{program}: no line about machine, load and date"


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.name not in MADE_ELSEWHERE], ids=lambda path: path.name
)
def test_no_figure_without_command(document: Path) -> None:
    """A table of figures outside of a block follows a sentence that names its program."""
    rest = BLOCK.sub("\n", document.read_text(encoding="utf-8"))
    before = ""
    for paragraph in rest.split("\n\n"):
        cells = [cell.strip() for line in paragraph.splitlines() if line.startswith("|") for cell in line.split("|")]
        if any(re.fullmatch(r"[\d.,]+( ?(%|ms|s|KB))?", cell) for cell in cells):
            assert re.search(r"benchmarks/\w+\.py|the same program", before), paragraph
        before = paragraph


CHARGED = """
import json, os, subprocess, sys, time
from pathlib import Path

sys.path[:0] = ["benchmarks", "."]
import lib
from lib.process_meter import SCENARIO, Bill, ProcessMeter
from redis_practices.servers.process_group import ProcessGroup

BURN = "import time\\nend = time.process_time() + 0.6\\nwhile time.process_time() < end: pass"
FORKING = f'''
import os, sys
group = int(sys.stdin.readline())
if not os.fork():
    os.setpgid(0, group)
    exec({BURN!r})
    os._exit(0)
os.wait()
'''

def burn(environment, *before):
    return subprocess.Popen([*before, sys.executable, "-c", BURN], env=environment)

meter = ProcessMeter()
begun = time.time()
with meter.watching():
    plain = {**os.environ}
    forking = subprocess.Popen([sys.executable, "-c", FORKING], stdin=subprocess.PIPE, text=True)
    os.environ[SCENARIO] = "direct"
    direct = burn(os.environ)
    orphan = burn({**plain, SCENARIO: "orphan"}, "/bin/sh", "-c", '"$@" &', "sh")
    os.environ[SCENARIO] = "forked"
    with ProcessGroup() as group:
        forking.communicate(f"{group.number}\\n")
    for one in (direct, orphan):
        one.wait()
    nothing = burn(plain)
    nothing.wait()
    time.sleep(1.0)  # the orphan
line = {"pid": 0, "begun": begun, "ended": time.time(), "cpu": 0.0}
lines = [{**line, "id": name} for name in ("direct", "orphan", "forked")]
bill = Bill(meter.processes, lines)
print(json.dumps([bill.scenarios, bill.others]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_every_process_is_charged() -> None:
    """A program, an orphan, and a fork of a shared process are charged to their scenarios, with all their time."""
    done = subprocess.run(
        [sys.executable, "-c", CHARGED], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.returncode, done.stderr
    scenarios, others = json.loads(done.stdout)
    assert set(scenarios) == {"direct", "orphan", "forked"}, others
    assert {name for name, seconds in scenarios.items() if seconds >= 0.35} == {"direct", "orphan", "forked"}
    assert all(seconds < 0.9 for seconds in scenarios.values()), "counted twice"
    assert sum(others.values()) >= 0.35, "a process without a scenario counts for pytest"


def test_results_of_an_earlier_run_are_kept(tmp_path: Path) -> None:
    """benchmarks/refusals.py builds no deployment that its file of results has, and counts its result."""
    engine, state = engine_of(server_binary(None)), tmp_path / "state.jsonl"
    kept: dict[str, Any] = {
        "engine": engine,
        "defect": "reads only",
        "cause": "read only replica",
        "scenario": "x",
        "verdict": "refused",
    }
    kept |= {"this gate": [True, True, False], "redis-cli --cluster check": None, "the doctors": [False, False, None]}
    lines = [json.dumps({**kept, "role": role}) for role in ("cache", "broker")]
    state.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "benchmarks/refusals.py", "--only", "reads only", "--state", str(state)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    assert "| this gate | 2 of 2 | 2 of 2 | 0 of 2 | - |" in ended.stdout
    assert "| the doctors | 0 of 2 | 0 of 2 | - | - |" in ended.stdout
    assert state.read_text(encoding="utf-8").splitlines() == lines
