"""Judge a deployment against the practices, or explain, list and show them.

Each subcommand runs in a Python that imports nothing from the user's folder: no conftest.py, no plugin, no module of
the same name. The folder stays the current one: its practices.toml counts, and paths are the user's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import NoReturn

from redis_practices.cli import COMMAND, Parser, UsageError, nearest, run

_HERE = Path(__file__).parent
SUITE = _HERE / "_suite" if (_HERE / "_suite").is_dir() else _HERE.parents[1]
"""The folder of the features and their machinery: in this package, or the checkout."""

ROLES = ("cache", "cluster", "broker", "results")

DEMOS = {
    "cluster": ("redis_cluster", "cluster-024 or cluster-025 or cluster-026 or cluster-065"),
    "broker": ("celery_worker", "celery-032 or celery-033 or celery-073 or celery-082"),
    "cache": ("pure_cache", "cache-001 or cache-016 or cache-018 or cache-036 or cache-054 or cache-055"),
}
"""By deployment, its features and the scenarios that show most."""

OF_WORKERS = (
    ("queue", "NAME", "of --workers: one more queue to judge; repeatable"),
    ("key-prefix", "TEXT", "of --workers: the app with this global_keyprefix"),
    ("control-exchange", "X", "of --workers: the app with this control_exchange"),
)
"""Options about running workers, which are pytest's, too."""

SECRET = re.compile(":.*@|password=", re.DOTALL)
"""What a word with a password has, a URL with or without its scheme."""

PROGRAM = """\
import runpy, signal, sys
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module like ``-m``. Ctrl-C while modules are imported ends it without a traceback."""

FLAGS = ("each", "allow-disruption", "workers", "probe-workers")
"""Options without a value that pytest has, too."""

NAMED = ("report", "baseline", "require", "max-ops", "credentials", "shard")
"""Options with a value that pytest has, too."""

SUBCOMMANDS = ("explain", "list", "demo", "rights", "merge")

EXAMPLES = f"""\
  {COMMAND} --cache-url redis://cache.example:6379    a verdict in seconds
  {COMMAND} --broker-url redis://h --whole            every promise, in minutes
  {COMMAND} --broker-url 'sentinel://h;sentinel://i/0?master_name=NAME'    a primary that sentinels name
  {COMMAND} --cluster-url redis://h -- -k failover    options of pytest after --
  {COMMAND} demo                                      a failover, without a URL
  {COMMAND} explain cache-005                         promise, reason, proof, remedy
  {COMMAND} list thundering herd                      the promises about these words
  {COMMAND} rights cache                              for ACL SETUSER: what a run needs

practices.toml in the current folder changes bounds, and accepts failures until a date.
exit codes: 0 accepted or partial, 1 refused, more for no verdict (4: wrong usage)"""


def parser() -> Parser:
    """Return the parser of a judgement, whose help is that of the command."""
    found = Parser(__doc__ or "", EXAMPLES)
    found.prog = COMMAND
    found.usage = f"""{COMMAND} [options] [-- options of pytest]
       {COMMAND} explain ID | list [WORDS] | demo [{"|".join(DEMOS)}] | rights ROLE | merge PART..."""
    for role in ROLES:
        judged = "result backend" if role == "results" else role
        found.add_argument(f"--{role}-url", metavar="URL", help=f"judge this {judged} [env: {role.upper()}_URL]")
    found.add_argument("--workers", action="store_true", help="judge the running Celery workers of the broker, too")
    for name, metavar, about in OF_WORKERS:
        found.add_argument(f"--{name}", metavar=metavar, action="append", help=about)
    found.add_argument(
        "--probe-workers", action="store_true", help="send one task, redis_practices.probe, to each --queue"
    )
    found.add_argument("--credentials", metavar="NAME", help="module.Class, the login of URLs without one")
    found.add_argument("--quick", action="store_true", help="ask what takes seconds, the default")
    found.add_argument("--whole", action="store_true", help="ask every promise")
    found.add_argument("--each", action="store_true", help="show each promise that holds, too")
    found.add_argument("--report", metavar="DIR", help="write the page, report.json and more into DIR")
    found.add_argument("--baseline", metavar="FILE", help="an older report.json: say what broke since")
    found.add_argument("--require", metavar="TAGS", help="a skipped promise with such a tag is a failure: core")
    found.add_argument("--max-ops", metavar="N", help="send at most N commands a second")
    found.add_argument("--shard", metavar="I/N", help="be judge I of N, from 0; merge joins them")
    found.add_argument("--allow-disruption", action="store_true", help="with --whole: fail over, move slots")
    found.add_argument("--version", action="store_true", help="print the version")
    return found


def judge(words: Sequence[str], options_of_pytest: Sequence[str]) -> NoReturn:
    """Judge the deployments of the URLs (UsageError without one)."""
    given, unknown = parser().parse_known_args(words)
    if given.version:
        become("fixtures.reporting.promises", "version")
    if unknown:
        name, known = without_secret(unknown[0]), re.findall(r"--[a-z-]+", parser().format_help())
        raise UsageError(f"{name} is no option{nearest(name, known)} (options of pytest stand after --)")
    # A URL may have a password, which the list of processes would show.
    urls = {f"{role.upper()}_URL": url for role in ROLES if (url := getattr(given, f"{role}_url")) is not None}
    if "" in urls.values():  # a secret that a job lacks
        raise UsageError("a URL is empty: give its value, or leave its option out")
    if not urls and not any(os.environ.get(f"{role.upper()}_URL") for role in ROLES):
        raise UsageError(f"name a deployment, like --cache-url redis://host:6379; `{COMMAND} demo` needs none")
    if given.quick and given.whole:
        raise UsageError("give either --quick or --whole")
    options = [] if given.whole else ["--quick"]
    options += [f"--{name}" for name in FLAGS if getattr(given, name.replace("-", "_"))]
    named = [(name, getattr(given, name.replace("-", "_"))) for name in NAMED]
    named += [(name, one) for name, _, _ in OF_WORKERS for one in getattr(given, name.replace("-", "_")) or ()]
    for name, value in named:
        if value == "" and name not in {"require", "key-prefix"}:  # the app without a prefix
            raise UsageError(f"--{name} is empty: give a value, or leave it out")
        if "://" in (value or ""):
            raise UsageError(f"--{name} takes no URL (see --help)")
    options += [f"--{name}={value}" for name, value in named if value is not None]
    ask([str(SUITE / "features"), *options, *options_of_pytest], urls)


def demo(words: Sequence[str], options_of_pytest: Sequence[str]) -> NoReturn:
    """Show what a deployment promises on embedded servers, and write the page (UsageError)."""
    found = Parser(
        "Show what a deployment promises on embedded servers, and write the page.", f"  {COMMAND} demo cluster"
    )
    found.prog = f"{COMMAND} demo"
    found.add_argument("deployment", nargs="?", default="cluster", help=f"{', '.join(DEMOS)} (default: cluster)")
    folder = os.environ.get("REPORT") or f"{COMMAND}-demo"
    found.add_argument("--report", metavar="DIR", default=folder, help=f"(default: {folder}) [env: REPORT]")
    given = found.parse_args(words)
    if given.deployment not in DEMOS:
        raise UsageError(f"there is no demo {given.deployment!r}{nearest(given.deployment, list(DEMOS))} (see --help)")
    practice, scenarios = DEMOS[given.deployment]
    for name in ("STACK", *(f"{role.upper()}_URL" for role in ROLES)):
        os.environ.pop(name, None)
    options = [str(SUITE / "features" / practice), "-k", scenarios, "--each", f"--report={given.report}"]
    ask([*options, *options_of_pytest], {"STACK": "embedded"})


def ask(arguments: Sequence[str], variables: dict[str, str]) -> NoReturn:
    """Let pytest run scenarios, with further variables of the environment."""
    os.environ.update(variables)
    plugins = ("no:cacheprovider", "pytest_bdd.plugin", "_hypothesis_pytestplugin", "fixtures.reporting.live")
    loaded = [word for plugin in plugins for word in ("-p", plugin)]
    become("pytest", "-c", str(SUITE / "pyproject.toml"), *loaded, "-qq", "--no-summary", *arguments)


def become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by a Python that runs a module, without what belongs to the user's folder (UsageError)."""
    open_closed_streams()
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder was removed: change to another one") from None
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [path for path in paths if Path(path).is_absolute() and Path(path) != here]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(SUITE), str(SUITE / "src"), *others]),
        "PYTHONSAFEPATH": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": os.devnull,
    }
    if SUITE.name == "_suite" and Path(cache_from_source(str(SUITE / "suite.py"))).exists():
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # the installer has compiled all; pytest would write more
    os.execv(sys.executable, [sys.executable, "-c", PROGRAM, module, *arguments])  # noqa: S606 - this Python


def open_closed_streams() -> None:
    """Let the next program have the three streams, which it needs to write a verdict, where one is closed by `>&-`."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - it gets the lowest free number


def without_secret(word: str) -> str:
    """Return a word that is refused without its value (UsageError for a URL, which may have a password)."""
    name = word.partition("=")[0]
    if "://" in name or SECRET.search(name):
        raise UsageError("a URL needs its role, like --cache-url URL (see --help)")
    return name


def dispatch() -> None:
    """Run the subcommand of the command line (UsageError)."""
    words = sys.argv[1:]
    if "--" in words:
        words, options = words[: words.index("--")], words[words.index("--") + 1 :]
    else:
        options = []
    # A job that gives its URLs by the environment must not be green because it has no argument.
    is_job = any(name in os.environ for name in ("IN_CONTAINER", *(f"{role.upper()}_URL" for role in ROLES)))
    first, *others = words or ["--quick" if is_job or options else "--help"]
    if first.startswith("-"):
        judge([first, *others], options)
    if first in SUBCOMMANDS and any(map(SECRET.search, others)):
        raise UsageError(f"{first} takes no URL (see --help)")
    if first == "demo":
        demo(others, options)
    if first in SUBCOMMANDS and {"-h", "--help"}.intersection(others):
        judge(["--help"], options)
    if first in {"explain", "list"}:
        become("fixtures.reporting.promises", first, *others)
    if first == "merge":
        become("fixtures.reporting.merging", *others)
    if first == "rights":
        if others not in [*([role] for role in (*ROLES, "sentinel")), ["broker", "--workers"]]:
            known = f"{', '.join(ROLES)}, sentinel, or broker --workers"
            raise UsageError(f"write {COMMAND} rights ROLE, with a role of {known}")
        become("gate_user", *others)
    known = nearest(without_secret(first), SUBCOMMANDS)
    raise UsageError(f"{first!r} is no subcommand{known} (see --help)")


def main() -> NoReturn:
    """Run the command."""
    sys.argv[0] = COMMAND
    run(dispatch, wrong_usage=4)


if __name__ == "__main__":
    main()
