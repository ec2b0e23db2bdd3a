"""Test that scenarios in forked processes are reported as pytest reports them in one."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.gate.commands import Leaks, Running, clean_environment
from fixtures.run.processes import ForkingGroup
from fixtures.run.runner import PROCESSES
from redis_practices.polling import eventually
from redis_practices.servers.server import server_binary

PYTHONPATH = f"{PROJECT}:{PROJECT / 'src'}"

CONFTEST = """
import os, signal, sys, threading, time, warnings
import pytest

pytest_plugins = ["fixtures.run.runner"]
"""


class Suite:
    """A folder with tests, and the runs of them."""

    def __init__(self, pytester: pytest.Pytester, group: ForkingGroup) -> None:
        self.pytester, self._group = pytester, group
        pytester.makeconftest(CONFTEST)
        pytester.makeini("[pytest]\nmarkers =\n  audit:\n  waits:\n  disruptive:\n  slow:\n")

    def write(self, text: str) -> None:
        """Write the tests; the modules of the conftest are imported."""
        self.pytester.makepyfile(test_it="import os, signal, sys, threading, time, warnings, pytest\n" + text)

    def run(self, *options: str, processes: int = 2, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        """Run pytest in a process, without the options of this run."""
        loaded = [part for plugin in plugins for part in ("-p", plugin)]
        return self.run_plain(*loaded, "--processes", str(processes), *options)

    def run_plain(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with these arguments alone."""
        log, options = self.pytester.path / "output", [f"--basetemp={self.pytester.path}-run", *arguments]
        log.unlink(missing_ok=True)
        code = self._group.start_python("pytest", options, log, cwd=self.pytester.path, env=os.environ).wait(60)
        lines = log.read_text(encoding="utf-8").splitlines()
        return pytest.RunResult(code, lines, lines, 0.0)


@pytest.fixture
def suite(pytester: pytest.Pytester, project_group: ForkingGroup, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Give a folder with tests."""
    for name in ("REPORT", "GITHUB_ACTIONS", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Suite(pytester, project_group)


def test_process_that_dies_fails_its_test_alone(suite: Suite) -> None:
    """Another process takes its place and runs the rest."""
    suite.write(
        "def test_killed(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def test_exits(): os._exit(3)\n"
        "@pytest.mark.parametrize('n', range(20))\ndef test_lives(n): pass\n"
    )
    run = suite.run("--junitxml=junit.xml")
    run.assert_outcomes(passed=20, failed=2)
    run.stdout.fnmatch_lines_random(
        [
            "E*StackError: the process of this scenario ended with SIGKILL",
            "E*StackError: the process of this scenario ended with exit code 3",
        ]
    )
    assert 'tests="22"' in (suite.pytester.path / "junit.xml").read_text()


def test_output_logs_and_warnings_belong_to_their_test(suite: Suite) -> None:
    """What tests write side by side is shown with each of them, and only there."""
    suite.write(
        "import logging, subprocess\n"
        "class Own(UserWarning):\n"
        "    def __init__(self, one, two): super().__init__(one + two)\n"
        "@pytest.mark.parametrize('n', range(12))\n"
        "def test_it(n):\n"
        "    for part in range(40):\n"
        "        print(f'out{n}.{part}'); print(f'err{n}.{part}', file=sys.stderr)\n"
        "        time.sleep(0.001)\n"
        "    subprocess.run(['echo', f'child{n}'])\n"
        "    logging.getLogger().error(f'log{n}')\n"
        "    warnings.warn(f'warned{n}')\n"
        "    warnings.warn(Own('own', str(n)))\n"
        "    assert False\n"
    )
    run = suite.run("-v", processes=6)
    run.assert_outcomes(failed=12, warnings=24)
    said = run.stdout.str()
    for part in re.split(r"_{3,} (?=test_it)", said.partition("= FAILURES =")[2])[1:]:
        number = int(re.findall(r"\d+", part)[0])
        for kind in ("out", "err", "child", "log"):
            assert {int(found) for found in re.findall(rf"\b{kind}(\d+)", part)} == {number}, part
        assert part.count(f"out{number}.") == 40
    assert len(re.findall(r"UserWarning: warned\d+", said)) == 12
    assert len(re.findall(r"Own: own\d+", said)) == 12


def test_errors_of_teardown_are_reported(suite: Suite) -> None:
    """Those of a test, of its module, and of the session, whose fixtures each process ends."""
    suite.write(
        "@pytest.fixture(scope='session')\ndef whole():\n    yield\n    raise RuntimeError('whole')\n"
        "@pytest.fixture(scope='module')\ndef part():\n    yield\n    raise RuntimeError('part')\n"
        "@pytest.fixture\ndef own():\n    yield\n    raise RuntimeError('own')\n"
        "def test_own(own): pass\n"
        "def test_part(part): pass\n"
        "def test_whole(whole): pass\n"
    )
    run = suite.run()
    run.assert_outcomes(passed=3, errors=3)
    for name in ("own", "part", "whole"):
        run.stdout.fnmatch_lines([f"E*RuntimeError: {name}"])


@pytest.mark.parametrize(("lease", "processes"), [(60.0, range(1, 4)), (0.0, range(30, 31))])
def test_fixtures_of_the_session_live_as_long_as_their_process(suite: Suite, lease: float, processes: range) -> None:
    """A process makes each of them once and ends it once; after `LEASE` a new process takes its place."""
    suite.pytester.makeconftest(CONFTEST + f"import fixtures.run.runner\nfixtures.run.runner.LEASE = {lease}\n")
    suite.write(
        "@pytest.fixture(scope='session')\ndef whole():\n"
        "    with open(f'made-{os.getpid()}', 'x'): pass\n"
        "    yield\n"
        "    with open(f'ended-{os.getpid()}', 'x'): pass\n"
        "@pytest.mark.parametrize('n', range(30))\ndef test_it(n, whole): pass\n"
    )
    suite.run(processes=3).assert_outcomes(passed=30)
    made, ended = (list(suite.pytester.path.glob(f"{name}-*")) for name in ("made", "ended"))
    assert len(made) == len(ended)
    assert len(made) in processes


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["-x"], {"failed": 1}),
        (["--maxfail=2"], {"failed": 2}),
        (["--sw"], {"failed": 1}),
    ],
    ids=" ".join,
)
def test_run_stops_at_failures(suite: Suite, options: list[str], outcomes: dict[str, int]) -> None:
    """One process at work: it stops where a single one would."""
    suite.write("@pytest.mark.parametrize('n', range(9))\ndef test_it(n): assert n < 2\n")
    run = suite.run(*options, processes=1)
    run.assert_outcomes(passed=2, **outcomes)
    assert run.ret in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}


def test_last_failed(suite: Suite) -> None:
    """--lf runs the failures alone, --ff runs them first."""
    suite.write("@pytest.mark.parametrize('n', range(9))\ndef test_it(n): assert n != 7\n")
    suite.run().assert_outcomes(passed=8, failed=1)
    suite.run("--lf").assert_outcomes(failed=1)
    first = suite.run("--ff", "-v", processes=1)
    assert re.search(r"test_it\[\d\] \w+", first.stdout.str()).group().startswith("test_it[7] FAILED")  # type: ignore[union-attr]


def test_results_are_those_of_one_process(suite: Suite) -> None:
    """Durations, properties of JUnit, skips and expected failures arrive."""
    suite.write(
        "def test_slow(record_property):\n    record_property('colour', 'grey')\n    time.sleep(0.3)\n"
        "def test_skipped(): pytest.skip('no need')\n"
        "@pytest.mark.xfail(reason='known')\ndef test_known(): assert False\n"
        "@pytest.mark.xfail(strict=True)\ndef test_mended(): pass\n"
    )
    run = suite.run("--durations=1", "--junitxml=junit.xml", "-rsx")
    run.assert_outcomes(passed=1, skipped=1, xfailed=1, failed=1)
    run.stdout.fnmatch_lines(["*s call*test_slow"])
    run.stdout.fnmatch_lines_random(["SKIPPED * no need", "XFAIL * known"])
    assert '<property name="colour" value="grey"' in (suite.pytester.path / "junit.xml").read_text()


@pytest.mark.parametrize("options", [("--pdb",), ("--collect-only",)], ids=" ".join)
def test_one_process(suite: Suite, options: tuple[str, ...]) -> None:
    """Nothing is forked where a person looks on, or nothing runs."""
    suite.write("def test_it(): pass\ndef test_other(): pass\n")
    assert "processes:" not in suite.run(*options).stdout.str()


def test_coverage_of_forks_is_kept(suite: Suite) -> None:
    """``patch = fork, _exit`` of coverage.py counts the lines that processes run."""
    pytest.importorskip("coverage")
    suite.write("@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    assert n >= 0\n")
    (suite.pytester.path / ".coveragerc").write_text("[run]\npatch = fork, _exit\nparallel = true\n")
    suite.pytester.run("python", "-m", "coverage", "run", "-m", "pytest", "--processes=2")
    suite.pytester.run("python", "-m", "coverage", "combine")
    report = suite.pytester.run("python", "-m", "coverage", "report", "-m", "test_it.py")
    report.stdout.fnmatch_lines(["test_it.py * 100%*"])


def test_order_of_a_user_is_kept(suite: Suite) -> None:
    """An audit comes first, unless a plugin orders the tests."""
    suite.write(
        "def test_plain(): pass\n"
        "@pytest.mark.disruptive\ndef test_kills(): pass\n"
        "@pytest.mark.waits\ndef test_waits(): pass\n"
        "@pytest.mark.audit\ndef test_quick(): pass\n"
    )
    assert re.findall(r"test_(\w+) PASSED", suite.run("-v", processes=1).stdout.str())[0] == "quick"
    order = re.findall(r"test_(\w+) PASSED", suite.run("-v", processes=0).stdout.str())
    assert order == ["waits", "kills", "plain", "quick"]
    (suite.pytester.path / "backwards.py").write_text(
        "def pytest_collection_modifyitems(items): items.sort(key=lambda item: item.name)\n"
    )
    run = suite.run("-v", processes=1, plugins=("backwards",))
    assert re.findall(r"test_(\w+) PASSED", run.stdout.str()) == ["kills", "plain", "quick", "waits"]


TURNS = """
from fixtures.run.keys import TURN, Turn

def pytest_itemcollected(item):
    part, none = frozenset({"broker"}), frozenset()
    if "other" not in item.name:
        item.stash[TURN] = Turn(none, part) if "alone" in item.name else Turn(part, none)
"""


def test_process_is_given_what_need_not_wait(suite: Suite) -> None:
    """Beside a scenario that uses a part alone runs one that does not use it, and begins before those that do."""
    suite.pytester.makeconftest(CONFTEST + TURNS)
    begin = "open('begun', 'a').write('{0}\\n'); time.sleep({1})\n"
    names = ["shares_1", "shares_2", "alone_1", "alone_2", "other_1", "other_2", "other_3"]
    suite.write(
        "".join(f"def test_{name}(): {begin.format(name, 0.6 if name == 'alone_1' else 0.1)}" for name in names)
    )
    suite.run("-p", "no:randomly").assert_outcomes(passed=7)
    begun = (suite.pytester.path / "begun").read_text().split()
    assert set(begun[:4]) == {"alone_1", "other_1", "other_2", "other_3"}


def test_before_the_fork_there_is_one_thread(suite: Suite) -> None:
    """A thread at the time of the fork would be lost, and its locks kept: then there is one process, and a line."""
    suite.pytester.makeconftest(
        CONFTEST + "\ndef pytest_sessionstart():\n"
        "    threading.Thread(target=threading.Event().wait, name='ticker', daemon=True).start()\n"
    )
    suite.write("def test_it(): pass\ndef test_other(): pass\n")
    run = suite.run()
    run.assert_outcomes(passed=2)
    run.stdout.fnmatch_lines(["processes: 1, as a fork would lose the thread 'ticker'"])


def test_exit_of_a_test_ends_the_run(suite: Suite) -> None:
    """`pytest.exit` has its message and exit code, as in one process."""
    suite.write("def test_it(): pytest.exit('enough', returncode=7)\ndef test_other(): time.sleep(60)\n")
    run = suite.run()
    assert run.ret == 7
    run.stdout.fnmatch_lines(["*Exit: enough*"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_stopped_run_leaves_nothing(suite: Suite, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM report what ran; after SIGKILL, too, no process, server or file is left."""
    suite.pytester.makeconftest(CONFTEST.replace("]", ', "fixtures.reporting.plugin"]'))
    suite.write(
        "from redis_practices.servers.process_group import ProcessGroup\n"
        "from redis_practices.servers.server import CACHE, start_server\n"
        "@pytest.mark.audit\ndef test_quick(): pass\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_it(n):\n"
        "    with ProcessGroup() as group:\n"
        "        start_server(group, CACHE)\n"
        "        open(f'{os.path.dirname(__file__)}/started-{n}', 'x')\n"
        "        time.sleep(60)\n"
    )
    folder = suite.pytester.path
    command = f"exec python -m pytest -p no:docker -p no:xdist --rootdir {folder} {folder} --processes 3 -v"
    running = Running(command, {**clean_environment(server_binary()), "PYTHONPATH": PYTHONPATH})
    try:
        _await_started(folder, 3)
        leaks = Leaks(running)
        if number == signal.SIGINT:
            running.interrupt()
        else:
            running.process.send_signal(number)
        outcome = running.ended(20)
        assert outcome.exit_code == (-9 if number == signal.SIGKILL else 2), outcome
        if number != signal.SIGKILL:
            assert "1 passed" in outcome.stdout, outcome

        def look() -> None:
            left = [str(one) for one in [*leaks.processes(), *leaks.files()]]
            assert not left, f"left: {left}"

        eventually(look, within=10)
    finally:
        Leaks(running).remove()
        running.close()


def _await_started(folder: Path, number: int) -> None:
    """Wait until tests have started their servers."""

    def look() -> None:
        assert len(list(folder.glob("started-*"))) == number

    eventually(look, within=20)


def test_number_of_processes(suite: Suite) -> None:
    """There are at most as many as tests; less than none is refused."""
    suite.write("@pytest.mark.parametrize('n', range(40))\ndef test_it(n): pass\n")
    suite.run_plain().stdout.fnmatch_lines([f"processes: {PROCESSES}"])
    suite.run(processes=99).stdout.fnmatch_lines(["processes: 40"])
    refused = suite.run(processes=-1)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*argument --processes: '-1' is not a whole number"])


@pytest.mark.slow
def test_xdist_may_be_installed_beside_it(suite: Suite) -> None:
    """With ``-n`` xdist starts the processes; with ``--processes`` its plugin does not disturb."""
    pytest.importorskip("xdist")
    suite.write("@pytest.mark.parametrize('n', range(4))\ndef test_it(n): pass\n")
    by_xdist = suite.run_plain("-p", "xdist.plugin", "-n2")
    by_xdist.assert_outcomes(passed=4)
    by_xdist.stdout.fnmatch_lines(["created: 2/2 workers"])
    beside = suite.run_plain("-p", "xdist.plugin", "--processes=2")
    beside.assert_outcomes(passed=4)
    beside.stdout.fnmatch_lines(["processes: 2"])
