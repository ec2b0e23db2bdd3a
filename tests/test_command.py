"""Test the command ``redis-practices`` from the checkout: its words, its errors, its output."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.bdd.gherkin import retired_ids
from fixtures.gate.commands import KEPT, run_at_terminal
from fixtures.reporting.promises import everyday_names, explain, found, promises
from fixtures.run.options import ROLES
from redis_practices.cli import COMMAND
from redis_practices.servers import CACHE, ProcessGroup, start_server
from redis_practices.servers.server import Config, Server

pytestmark = pytest.mark.slow  # `.ci/run package` runs them

FAULTY: Config = {**CACHE, "maxmemory": 0, "maxmemory-policy": "noeviction"}
QUICKLY = ("--", "-k", "cache-005 or cache-126")
"""Selects two audits, of which a faulty cache breaks the first."""


def environment() -> dict[str, str]:
    """Return the environment of the command, without variables of this run."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONPATH": str(PROJECT / "src")}


def call(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder to its end."""
    command = [sys.executable, "-m", "redis_practices", *words]
    return subprocess.run(
        command, cwd=folder, env=environment() | variables, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def caches() -> Iterator[dict[str, Server]]:
    """Give a sound and a faulty cache."""
    with ProcessGroup() as group:
        yield {"sound": start_server(group, CACHE), "faulty": start_server(group, FAULTY)}


def url(server: Server) -> str:
    """Return the URL of a server."""
    return f"redis://127.0.0.1:{server.port}"


NOWHERE = "redis://me:secret-word@127.0.0.1:1"

WRONG = {
    "no deployment": ([], "name a deployment, like --cache-url redis://host:6379"),
    "subcommand": (["explian", "cache-005"], "'explian' is no subcommand; did you mean explain?"),
    "option": (["--cahce-url", "redis://h"], "--cahce-url is no option; did you mean --cache-url?"),
    "value of an option": ([f"--cahce-url={NOWHERE}"], "--cahce-url is no option; did you mean --cache-url?"),
    "URL alone": ([NOWHERE], "a URL needs its role, like --cache-url URL (see --help)"),
    "URL without a scheme": (["me:secret-word@h"], "a URL needs its role, like --cache-url URL (see --help)"),
    "URL for a subcommand": (["explain", NOWHERE], "explain takes no URL (see --help)"),
    "option of a demo": (["demo", "cache", "--cache-url", NOWHERE], "demo takes no URL (see --help)"),
    "half an option": ([f"--c={NOWHERE}"], "ambiguous option: --c could match --cache-url, --cluster-url"),
    "value of a switch": ([f"--each={NOWHERE}"], "argument --each: it takes no value (see --help)"),
    "options of pytest alone": (["--", "-k", "cache-005"], "name a deployment, like --cache-url redis://host:6379"),
    "option of pytest": (["--cache-url", NOWHERE, "--", "--nosuch"], "unrecognized arguments: --nosuch"),
    "URL for an option": (["--cache-url", NOWHERE, "--report", NOWHERE], "--report takes no URL (see --help)"),
    "URL for pytest": (["--cache-url", NOWHERE, "--", f"--no={NOWHERE}"], "unrecognized arguments: --no=redis://***@"),
    "empty URL": (["--cache-url", NOWHERE, "--cluster-url", ""], "a URL is empty: give its value, or leave its option"),
    "empty folder": (["--cache-url", NOWHERE, "--report", ""], "--report is empty: give a value, or leave it out"),
    "deep baseline": (["--cache-url", NOWHERE, "--baseline", "deep"], "--baseline: cannot use deep ("),
    "URL without an option": (["--each", NOWHERE], "a URL needs its role, like --cache-url URL (see --help)"),
    "two scopes": (["--quick", "--whole", "--cache-url", NOWHERE], "give either --quick or --whole"),
    "id": (["explain", "cache-9990"], "'cache-9990' is the id of no promise; did you mean cache-"),
    "no id": (["explain"], f"write {COMMAND} explain ID"),
    "words": (["list", "stampeed"], "no promise has 'stampeed'; did you mean stampede?"),
    "role": (["rights", "cahce"], f"write {COMMAND} rights ROLE, with a role of cache, cluster, broker, results"),
    "demo": (["demo", "clustre"], "there is no demo 'clustre'; did you mean cluster?"),
    "scheme": (["--cache-url", "http://me:secret-word@h"], "--cache-url is not a Redis URL"),
    "silent server": (["--cache-url", NOWHERE], "127.0.0.1:1 refuses the connection"),
    "report": (
        ["--cache-url", NOWHERE, "--report", "file"],
        "--report: cannot write (file is no folder)",
    ),
    "baseline": (["--cache-url", NOWHERE, "--baseline", "file"], "--baseline: cannot use file ("),
    "tag": (["--cache-url", NOWHERE, "--require", "cor"], "--require: 'cor' is no tag"),
    "queue without workers": (["--broker-url", NOWHERE, "--queue", "mail"], "--queue is about running workers: add --"),
    "workers without a broker": (["--cache-url", NOWHERE, "--workers"], "--workers asks the workers of a broker: name"),
    "probe without a queue": (["--broker-url", NOWHERE, "--workers", "--probe-workers"], "add --queue NAME"),
    "two queues in one": (["--broker-url", NOWHERE, "--workers", "--queue", "a,b"], "--queue names one queue: write"),
    "empty queue": (["--broker-url", NOWHERE, "--workers", "--queue", ""], "--queue is empty: give a value, or leave"),
    "number": (
        ["--cache-url", NOWHERE, "--max-ops", "\x1b[31m"],
        "--max-ops: '\\x1b[31m' is not a whole",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_word(tmp_path: Path, case: str) -> None:
    """A wrong word is refused in one line, with exit code 4 and what to write."""
    (tmp_path / "file").write_text("no report\n", encoding="utf-8")
    (tmp_path / "deep").write_text("[" * 100_000, encoding="utf-8")
    words, said = WRONG[case]
    ended = call(tmp_path, *(words or ["--each"]))
    lines = [line for line in ended.stderr.splitlines() if line]
    assert ended.returncode == 4, ended
    assert len(lines) == 1, ended.stderr
    assert said in lines[0]
    assert not re.search(r"Traceback|secret-word|\x1b", ended.stderr + ended.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "file"]


def test_help_is_one_screen(tmp_path: Path) -> None:
    """The help has examples and the exit codes, on at most 40 lines."""
    ended = call(tmp_path)
    assert ended.returncode == 0
    assert f"{COMMAND} explain cache-005" in ended.stdout
    assert "exit codes: 0" in ended.stdout
    assert len(ended.stdout.splitlines()) <= 40


def test_folder_is_removed(tmp_path: Path) -> None:
    """In a folder that was removed the command says so."""
    script = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m redis_practices explain cache-005"
    ended = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr == f"{COMMAND}: the current folder was removed: change to another one\n"


def test_locale_without_a_character(tmp_path: Path) -> None:
    """Where the output cannot have a character, its escape stands there."""
    ended = call(tmp_path, "list", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert call(tmp_path, PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize("variable", ["CACHE_URL", "IN_CONTAINER"])
def test_job_without_arguments_is_not_green(tmp_path: Path, variable: str) -> None:
    """In a job whose URL is empty, or in the image, the command without arguments is an error."""
    ended = call(tmp_path, **{variable: ""})
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "name a deployment" in ended.stderr


def test_name_and_version(tmp_path: Path) -> None:
    """The command has the name in pyproject.toml, and prints the version there."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert list(project["scripts"]) == [COMMAND]
    assert call(tmp_path, "--version").stdout == f"{project['name']} {project['version']}\n"


@pytest.mark.parametrize("role", [*ROLES, "sentinel"])
def test_rights(tmp_path: Path, role: str) -> None:
    """The command prints the rule of the user that a run needs, as the script does."""
    script = [sys.executable, str(PROJECT / "src" / "gate_user.py"), role]
    wanted = subprocess.run(script, check=True, capture_output=True, text=True, timeout=60).stdout
    assert call(tmp_path, "rights", role).stdout == wanted
    assert wanted.startswith("-@all ")


def test_cause_is_shown_when_it_is_found(tmp_path: Path, caches: dict[str, Server]) -> None:
    """A faulty cache is refused before most scenarios have begun: cause, remedy, and the verdict last."""
    command = [sys.executable, "-m", "redis_practices", "--cache-url", url(caches["faulty"])]
    log = tmp_path / "progress"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        lines, asked = [], ""
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.startswith("  Remedy:"):
                asked = asked or log.read_text(encoding="utf-8")
    assert process.wait(60) == 1
    assert lines[1] == "refused: cache-005 the cache has a memory limit", lines
    assert lines[2].startswith(f"  maxmemory of 127.0.0.1:{caches['faulty'].port}: seen 0, bound >= 1"), lines
    assert lines[3].startswith("  Remedy: `CONFIG SET maxmemory <bytes>`"), lines
    assert lines[4].endswith(f"{COMMAND} explain cache-005"), lines
    assert lines[-1].startswith("verdict: refused"), lines
    assert asked.startswith("0/"), asked
    assert len(asked.splitlines()) == 1, "the first cause came late"


def test_settings_are_audited_first(tmp_path: Path, caches: dict[str, Server]) -> None:
    """The settings of the last role are judged before the commands of the first."""
    servers = ("--cache-url", url(caches["sound"]), "--broker-url", url(caches["sound"]))
    ended = call(tmp_path, *servers, "--", "-k", "celery-144 or cache-126")
    assert ended.stderr.splitlines() == [
        "0/2 asked, now: the server of the cache is a primary",
        "1/2 asked, now: the broker keeps the tables of queues, and grants the lock of a worker once",
    ]


def test_results_are_in_the_folder_of_the_user(tmp_path: Path, caches: dict[str, Server]) -> None:
    """practices.toml there counts, reports are written there, and the second run compares with the first."""
    (tmp_path / "practices.toml").write_text('[bounds]\nmaxmemory = "at least 0"\n', encoding="utf-8")
    words = ["--cache-url", url(caches["faulty"]), "--report", "out"]
    first = call(tmp_path, *words, *QUICKLY)
    assert first.returncode == 0, first
    assert first.stdout.splitlines()[-1].endswith("— out/report.json")
    assert "page: out/index.html" in first.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["judged"]["selection"] == {"-k": QUICKLY[-1], "paths": "features"}
    (tmp_path / "practices.toml").unlink()
    second = call(tmp_path, *words, "--baseline", "out/report.json", *QUICKLY)
    assert second.returncode == 1, second
    assert "broke: cache-005" in second.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_verbose_run_counts_each_scenario_once(tmp_path: Path, caches: dict[str, Server]) -> None:
    """The counts of pytest, which ``-v`` shows, are those of the verdict."""
    ended = call(tmp_path, "--cache-url", url(caches["sound"]), "--", "-v", "-k", "cache-005")
    assert ended.returncode == 0, ended
    assert re.search(r"^1 passed", ended.stdout, re.MULTILINE), ended.stdout


def test_interrupted_before_it_begins(tmp_path: Path) -> None:
    """Ctrl-C while modules are imported ends the command without a traceback."""
    folder, begun = tmp_path / "modules", tmp_path / "begun"
    folder.mkdir()
    slow = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(30)\n"
    (folder / "pluggy.py").write_text(slow, encoding="utf-8")
    paths = {"PYTHONPATH": os.pathsep.join([str(PROJECT / "src"), str(folder)])}
    command = [sys.executable, "-m", "redis_practices", "--cache-url", NOWHERE]
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    process = subprocess.Popen(command, cwd=tmp_path, env=environment() | paths, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, earlier)
    end = time.monotonic() + 30
    while not begun.exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=20)[1], process.returncode) == (b"", -signal.SIGINT)


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-"])
def test_closed_stream(tmp_path: Path, caches: dict[str, Server], closed: str) -> None:
    """A sound cache is not refused because a stream is closed."""
    words = f"-m redis_practices --cache-url {url(caches['sound'])} --report out -- -k cache-005"
    script = f"{sys.executable} {words} {closed}"
    assert subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, env=environment(), check=False).returncode == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["verdict"] == "partial"


def test_password_is_no_argument(tmp_path: Path, caches: dict[str, Server]) -> None:
    """The list of processes does not show the password of a URL once the scenarios run."""
    command = [
        sys.executable,
        "-m",
        "redis_practices",
        "--cache-url",
        url(caches["sound"]).replace("//", "//:secret-word@"),
    ]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    arguments = Path(f"/proc/{process.pid}/cmdline")
    if not arguments.exists():
        pytest.skip("needs /proc")
    end = time.monotonic() + 30
    while b"pytest" not in arguments.read_bytes() and time.monotonic() < end:
        assert process.poll() is None
    seen = arguments.read_bytes()
    process.communicate(timeout=60)
    assert b"pytest" in seen
    assert b"secret-word" not in seen


def test_each(tmp_path: Path) -> None:
    """With ``--each`` a run of several processes shows each scenario once, with the values of its row."""
    ended = call(tmp_path, "demo", "cache", "--report", "out", "--", "-k", "cache-016")
    assert ended.returncode == 0, ended
    shown = sorted(line for line in ended.stdout.splitlines() if line.startswith("holds:"))
    names = [f"holds: cache-016 100 concurrent misses in {where} cost the origin one call" for where in PLACES]
    assert shown == names, ended.stdout
    assert ended.stdout.count("\n  calls of the origin: seen 1 calls, bound == 1 calls\n") == len(PLACES)
    assert (tmp_path / "out" / "index.html").exists()


PLACES = ("processes", "tasks", "threads")


@pytest.mark.parametrize("subcommand", ["explain", "list", "rights", "demo"])
def test_help_of_a_subcommand(tmp_path: Path, subcommand: str) -> None:
    """``--help`` after a subcommand is no usage error."""
    ended = call(tmp_path, subcommand, "--help")
    assert (ended.returncode, ended.stdout.startswith("usage: ")) == (0, True), ended


def test_skipped(tmp_path: Path, caches: dict[str, Server]) -> None:
    """A promise that was skipped is named with the reason, before the verdict."""
    ended = call(tmp_path, "--cache-url", caches["faulty"].url, "--", "-k", "cache-132 or cache-133 or cache-134")
    [reason] = [line for line in ended.stdout.splitlines() if line.startswith("skipped: cache-133, cache-134: ")]
    assert reason.endswith(" is reached without TLS"), ended
    assert ended.stdout.index("skipped: cache-132: advice: ") < ended.stdout.index("verdict: "), ended


@pytest.mark.parametrize("no_color", ["", "1"], ids=["colours", "NO_COLOR"])
def test_terminal(tmp_path: Path, caches: dict[str, Server], no_color: str) -> None:
    """A terminal shows colours and one rewritten line of progress, which is gone at the end."""
    words = f"{sys.executable} -m redis_practices --cache-url {url(caches['faulty'])} -- -k 'cache-005 or cache-126'"
    ended = run_at_terminal(
        f"cd {tmp_path} && {words} | cat; {words} >&2", environment() | {"TERM": "xterm", "NO_COLOR": no_color}
    )
    assert "\x1b" not in ended.stdout
    assert "refused: cache-005" in ended.stdout
    assert "\r\x1b[K0/2 asked, now: the cache has a memory limit\r\x1b[K" in ended.stderr
    assert ("\x1b[31m\x1b[1mrefused:" in ended.stderr) is not bool(no_color), ended.stderr


def test_each_promise_is_explained() -> None:
    """Each promise has a name, a place and a proof; one with a remedy shows it."""
    known = list(promises(PROJECT))
    assert len(known) > 400
    for one in known:
        text = explain(PROJECT, one.scenario_id)
        assert text.startswith(f"{one.scenario_id}: ")
        steps = [step["text"] for step in one.scenario["steps"]]
        assert all(step in text for step in steps), one.scenario_id


EXPLAINED = """\
cache-005: the cache has a memory limit
  The cache has the settings of a cache > Memory is limited, and old entries make room for new ones
Also known as: out of memory
Why: A server with default settings
Remedy: `CONFIG SET maxmemory <bytes>` with at most 80 %
  Aiven: fixed by the plan: Change plan
Proof: features/pure_cache/audit.feature:
  Given the cache under test
  Then the setting "maxmemory" is at least 1
"""


def test_explain(tmp_path: Path) -> None:
    """The command explains a promise; an id in capital letters or as a tag is the same."""
    said = call(PROJECT, "explain", "@CACHE-005").stdout
    lines = iter(said.splitlines())
    for wanted in EXPLAINED.splitlines():
        assert any(wanted in line for line in lines), f"{wanted!r} is not said, or not in this order:\n{said}"
    assert call(PROJECT, "explain", "cache-005[a row]").stdout == said
    elsewhere = call(tmp_path, "explain", "cache-005").stdout
    assert f"Proof: {PROJECT}/features/pure_cache/audit.feature:" in elsewhere


def test_retired_promise(tmp_path: Path) -> None:
    """The id of a retired promise names its successors or the reason."""
    retired = min(retired_ids(PROJECT))
    ended = call(tmp_path, "explain", retired)
    assert ended.returncode == 4
    assert f"{retired} is retired; instead: " in ended.stderr


NAMES = {
    "stampede": "cache-016",
    "thundering herd": "cache-016",
    "SPLIT BRAIN": "cluster-057",
    "moved": "cluster-065",
    "CROSSSLOT": "cluster-068",
    "oom": "celery-042",
    "Table empty": "celery-144",
    "poison message": "celery-077",
}


@pytest.mark.parametrize("words", NAMES)
def test_everyday_name(words: str) -> None:
    """An everyday name finds its promise first."""
    assert found(PROJECT, words.split())[0].scenario_id == NAMES[words]


def test_everyday_names_name_promises() -> None:
    """The table of everyday names has only ids of promises, each name one or more."""
    known = {one.scenario_id for one in promises(PROJECT)}
    for name, ids in everyday_names(PROJECT).items():
        assert ids, name
        assert {*ids} <= known, name


def test_list(tmp_path: Path) -> None:
    """Words that stand in different parts of a promise find it; without words all are listed."""
    assert "cache-005    the cache has a memory limit\n" in call(tmp_path, "list", "memory", "limit").stdout
    listed = call(tmp_path, "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [one.scenario_id for one in promises(PROJECT)]
