"""Test that forked programs behave like started ones, and that a fork server leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.gate.commands import Leaks, Running
from fixtures.run.processes import LENT, ForkingGroup, fork_server
from redis_practices.polling import eventually
from redis_practices.servers.process_group import ProcessGroup, scratch_root

GROUP_AND_FORK = """
import os, sys, time
from redis_practices.servers.process_group import ProcessGroup

group = ProcessGroup()
if not os.fork():
    time.sleep(60)
    os._exit(0)

print(group.folder, flush=True)
if sys.argv[1] == "closes":
    group.close()
    print("closed", flush=True)
time.sleep(60)
"""

FORKS = """
import sys, time
from fixtures.run.processes import ForkingGroup

if __name__ == "__main__":
    with ForkingGroup() as group:
        # The first fork ends.
        assert group.start_python("this", [], group.folder / "log", cwd=group.folder).wait(30) == 0

        # The second fork serves until its group ends.
        group.start_python("http.server", ["0", "--bind", "127.0.0.1"], group.folder / "log", cwd=group.folder)

        print("forked", flush=True)
        time.sleep(float(sys.argv[1]))
"""

ASKS = """
import os, signal, sys
from pathlib import Path
from fixtures.run.forks import Fork, Program
from fixtures.run.processes import fork_server

def program(module, *arguments):
    folder = Path(sys.argv[2])
    return Program(module, arguments, folder / "log", folder, dict(os.environ), int(sys.argv[1]))

def is_server(process):
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        ours = state not in "ZX" and int(parent) == os.getpid()
        return ours and b"fixtures.run.forks" in (process / "cmdline").read_bytes()
    except OSError:
        return False

if __name__ == "__main__":
    assert Fork(fork_server(), program("this")).wait(30) == 0

    # The next fork waits for a paused server.
    [server] = [int(process.name) for process in Path("/proc").glob("[0-9]*") if is_server(process)]
    os.kill(server, signal.SIGSTOP)
    print(server, flush=True)

    Fork(fork_server(), program("http.server", "0", "--bind", "127.0.0.1"))
"""


class Commands:
    """Python programs that run, and their leftovers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: list[Running] = []

    def start(self, source: str, *arguments: object) -> Running:
        """Start a program."""
        program = self._folder / "program.py"
        program.write_text(source)
        env = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}", "PATH": os.environ["PATH"]}
        command = " ".join(["exec", sys.executable, str(program), *map(str, arguments)])
        self.running.append(Running(command, env))
        return self.running[-1]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Give programs, and stop them afterwards."""
    commands = Commands(tmp_path)
    yield commands
    for running in commands.running:
        Leaks(running).remove()
        running.close()


def said(running: Running) -> list[str]:
    """Wait for the output of a program, and return its words."""

    def look() -> list[str]:
        words = running.said().stdout.split()
        assert words, f"it has said nothing but {running.said()}"
        return words

    return eventually(look, within=30)


def test_group_closes_while_a_fork_lives(commands: Commands) -> None:
    """Closing a group does not wait for a fork of another group."""
    running = commands.start(GROUP_AND_FORK, "closes")

    def look() -> None:
        assert "closed" in running.said().stdout, "the group waits for the fork"

    eventually(look, within=5)


def test_folder_goes_with_a_killed_parent_while_a_fork_lives(commands: Commands) -> None:
    """The guard removes the folder of a killed parent, even if a fork of it lives."""
    running = commands.start(GROUP_AND_FORK, "stays")
    folder = Path(said(running)[0])
    assert folder.exists()
    os.kill(running.process.pid, signal.SIGKILL)

    def look() -> None:
        assert not folder.exists(), "the folder of the group is still there"

    eventually(look, within=5)


@pytest.mark.parametrize("end", ["its end", "SIGKILL"])
def test_nothing_is_left_of_a_fork_server(commands: Commands, end: str) -> None:
    """No fork, server or socket folder is left, however the requester ends."""
    running = commands.start(FORKS, 1 if end == "its end" else 60)
    leaks = Leaks(running)
    said(running)
    found = [one for one in leaks.processes() if "fixtures.run.forks" in one.command]
    assert found, f"no fork server among {leaks.processes()}"
    folders = list(Path(scratch_root()).glob(f"forks-{running.process.pid}-*/requests"))
    assert folders, "the socket's folder is not where it would be removed"
    if end == "SIGKILL":
        os.kill(running.process.pid, signal.SIGKILL)
    assert running.ended().exit_code == (-9 if end == "SIGKILL" else 0), running.said()

    def look() -> None:
        there = [folder for folder in folders if folder.exists()]
        left = [str(one) for one in [*leaks.processes(), *leaks.files(), *there]]
        assert not left, f"left: {left}"

    eventually(look, within=10)


def test_fork_of_a_dead_requester_ends(commands: Commands, tmp_path: Path) -> None:
    """A program exits if its requester died before the program started."""
    with ProcessGroup() as group:
        running = commands.start(ASKS, group.number, tmp_path)
        server = int(said(running)[0])
        time.sleep(0.5)  # the stopped server receives the request later
        os.kill(running.process.pid, signal.SIGKILL)
        running.ended()
        os.kill(server, signal.SIGCONT)
        leaks = Leaks(running)

        def look() -> None:
            os.kill(group.number, 0)
            there = [path for path in Path("/proc").glob("[0-9]*/stat") if _group(path) == group.number]
            assert [int(path.parent.name) for path in there] == [group.number], f"these run: {there}"
            assert not leaks.processes()

        eventually(look, within=10)


def _group(stat: Path) -> int:
    """Return the process group of a process; 0 if it has ended."""
    try:
        state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return 0
    return 0 if state in "ZX" else int(group)


@pytest.mark.parametrize(("source", "code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", -15)])
def test_exit_codes(source: str, code: int, tmp_path: Path) -> None:
    """Exit codes are those of `subprocess`."""
    (tmp_path / "program.py").write_text(source)
    with ForkingGroup() as group:
        assert group.start_python("program", [], tmp_path / "log", cwd=tmp_path).wait(30) == code
        assert group.start_python("no_such", [], tmp_path / "log", cwd=tmp_path).wait(30) == 1
    assert "No module named no_such" in (tmp_path / "log").read_text()


def test_fork_is_a_main_process(tmp_path: Path) -> None:
    """A fork runs `atexit` functions and has the process name that Celery's worker needs."""
    source = """
import atexit, multiprocessing, os
from pathlib import Path

process = multiprocessing.current_process()
print(process.name, process.daemon, os.getcwd(), os.environ["WORD"], __name__, flush=True)
atexit.register(Path("saved").touch)
raise SystemExit(3)
"""
    (tmp_path / "program.py").write_text(source)
    with ForkingGroup() as group:
        child = group.start_python("program", [], tmp_path / "log", cwd=tmp_path, env={"WORD": "kept"})
        assert child.wait(30) == 3
    assert (tmp_path / "log").read_text().split() == ["MainProcess", "False", str(tmp_path), "kept", "__main__"]
    assert (tmp_path / "saved").exists()


def test_other_release_of_a_module_runs_in_a_new_python(tmp_path: Path) -> None:
    """It imports the release on its PYTHONPATH, and a fork of the starter sees that it runs."""
    release = tmp_path / "other" / "celery"
    release.mkdir(parents=True)
    source = "import sys, time\nprint('kombu' in sys.modules, flush=True)\ntime.sleep(30)\n"
    (release / "__init__.py").touch()
    (release / "__main__.py").write_text(source)
    with ForkingGroup() as group:
        log = tmp_path / "log"
        place = {"PYTHONPATH": str(release.parent)}
        child = group.start_python("celery", [], log, cwd=tmp_path, env=place)
        eventually(lambda: log.read_text() != "", within=10)
        pid = os.fork()
        if not pid:
            os._exit(0 if child.poll() is None else 1)
        assert os.waitpid(pid, 0)[1] == 0
        child.kill()
        assert child.wait(10) == -9
    assert log.read_text().split() == ["False"]


PROBE = """
import time

def pytest_configure():
    print("seconds:", time.process_time())
"""


def test_runs_of_the_suite_share_its_import(tmp_path: Path) -> None:
    """A run of the features begins within 0.3 s of a core, as a fork of a process that has collected them."""
    (tmp_path / "probe.py").write_text(PROBE)
    log, options = tmp_path / "log", ["features/pure_cache", "--collect-only", "-q", "-p", "no:cacheprovider"]
    fork_server(collected=True)
    with ForkingGroup() as group:
        place = {**os.environ, "PYTHONPATH": str(tmp_path)}
        run = group.start_python("pytest", [*options, "-p", "probe"], log, cwd=PROJECT, env=place)
        assert run.wait(60) == 0, log.read_text()
    said = log.read_text()
    assert "pure_cache/expiry.feature" in said, said
    assert float(said.partition("seconds: ")[2].split()[0]) < 0.3, said


def test_fork_server_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run uses the process of another run that forks programs."""
    lent = fork_server()
    program = "from fixtures.run.processes import fork_server; print(fork_server())"
    monkeypatch.setenv(LENT, str(lent))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "src"))
    said = subprocess.check_output([sys.executable, "-c", program], cwd=PROJECT, text=True)
    assert said.strip() == str(lent)
