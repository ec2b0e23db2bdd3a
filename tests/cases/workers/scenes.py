"""Define the Celery apps of the cases, and start their processes on a broker."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from redis import Redis, RedisError

from fixtures import PROJECT
from fixtures.run.processes import ForkingGroup
from redis_practices.cli import Failure
from redis_practices.clients import redis_client
from redis_practices.polling import poll
from redis_practices.servers.process_group import Child, tail

Settings = Mapping[str, Any]

SOUND: Settings = {
    "accept_content": ["json"],
    "broker_connection_retry_on_startup": True,
    "result_backend_always_retry": True,
    "result_expires": 86400,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_soft_time_limit": 270,
    "task_time_limit": 300,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_eta_task_limit": 1000,
    "worker_max_tasks_per_child": 1000,
    "worker_prefetch_multiplier": 1,
}
"""The settings of every app, unless its case says otherwise."""

START_TIMEOUT = 30.0
"""Seconds until a program that is not ready is a failure."""

KEPT: list[bytearray] = []
"""The memory that tasks of W-40 never give back."""


def sleep(seconds: float) -> float:
    """Wait, and return the seconds."""
    time.sleep(seconds)
    return seconds


def hang() -> None:
    """Wait for bytes from a peer that never sends any."""
    here, _peer = socket.socketpair()
    here.recv(1)


def die() -> None:
    """Kill the process of the pool, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def keep(megabytes: int) -> None:
    """Use memory that is never given back."""
    KEPT.append(bytearray(os.urandom(1 << 20) * megabytes))


def fail() -> None:
    """Fail always."""
    raise ConnectionError("the service is away")


def add(*numbers: float) -> float:
    """Return the sum."""
    return sum(numbers)


def gather(numbers: list[float]) -> float:
    """Return the sum of the results of a chord."""
    return sum(numbers)


BODIES: Mapping[str, Callable[..., Any]] = {
    task.__name__: task for task in (add, die, fail, gather, hang, keep, sleep)
} | {"limited": add, "new": add}
"""What a task does, by the last part of its name."""


def chosen(settings: Settings) -> dict[str, Any]:
    """Return the settings without those that are left out."""
    return {name: value for name, value in settings.items() if value is not ...}


@dataclass(frozen=True)
class Program:
    """A worker, a beat or a sender of a case, with its Celery app."""

    settings: Settings = field(default_factory=dict)
    """Changes of `SOUND`; the value ``...`` leaves a setting out."""
    transport: Settings = field(default_factory=dict)
    """Options of the transport, without which the visibility timeout is an hour."""
    flags: str = "-c 1"
    """Flags of the command; ``{folder}`` is a folder that ends with the case."""
    command: str = "worker"
    """The Celery command, or nothing for an app that only sends."""
    app: str = "shop"
    """The name of the app, with which its tasks' names begin."""
    tasks: Settings = field(default_factory=lambda: {"add": {}, "sleep": {}})
    """The options of each task."""
    node: str = ""
    """The node's name, if it is not the app's with a number."""
    login: str = ""
    """User and password, if they are not those of the broker's URL."""
    database: int | None = None
    through: str = ""
    """Words before the command, such as another program that starts it."""
    release: str = ""
    """Requirements, such as ``celery==5.7.0``, that precede the installed packages."""
    changed: Callable[[Celery], None] | None = None
    """What changes the process when it makes its app."""
    ready: str = " ready."
    """What the program logs when it works; nothing if the case does not wait for it."""

    def url(self, broker: str) -> str:
        """Return the URL of the app's broker."""
        parts = urlsplit(broker)
        login, _, host = parts.netloc.rpartition("@")
        login = self.login or login
        path = parts.path if self.database is None else f"/{self.database}"
        return parts._replace(netloc=f"{login}@{host}" if login else host, path=path or "/0").geturl()

    def made(self, broker: str) -> Celery:
        """Return its app."""
        app = Celery(self.app, set_as_current=False)
        url = self.url(broker)
        # The transport has the default of an hour, too; a setting that is shown cannot be overlooked.
        transport = {"visibility_timeout": 3600, **self.transport}
        settings = {**SOUND, "result_backend": url, **self.settings}
        app.conf.update(broker_url=url, broker_transport_options=chosen(transport), **chosen(settings))
        for name, options in self.tasks.items():
            app.task(BODIES[name], name=f"{self.app}.{name}", **options)
        return app


@dataclass(frozen=True)
class Case:
    """The programs of a case, and what happens before and after their start."""

    programs: tuple[Program, ...]
    before: Callable[[Scene], object] | None = None
    after: Callable[[Scene], object] | None = None


class Scene:
    """A case that runs on a broker."""

    def __init__(self, number: str, case: Case, broker: str, group: ForkingGroup) -> None:
        self.number, self.case, self.broker = number, case, broker
        self.client: Redis = redis_client(broker)
        self.group = group
        self.processes: dict[int, Child] = {}
        self.open: list[Any] = []
        """Connections that stay open until the scene ends."""

    def app(self, place: int = 0) -> Celery:
        """Return an app with the settings of a program, to send with."""
        return self.case.programs[place].made(self.broker)

    def send(self, task: str, *arguments: Any, times: int = 1, by: int = 0, **options: Any) -> None:
        """Send a task of the program at the place `by` some times."""
        app = self.app(by)
        # Without a result the sender does not subscribe to it.
        options = {"ignore_result": True, **options}
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            for _ in range(times):
                app.send_task(f"{app.main}.{task}", arguments, producer=producer, **options)

    def held(self, number: int, prefix: str = "") -> None:
        """Wait until workers hold that number of unacknowledged tasks (Failure if they do not)."""
        if not poll(lambda: self.client.hlen(f"{prefix}unacked") == number, START_TIMEOUT):
            raise Failure(f"{self.number}: no worker holds {number} tasks after {START_TIMEOUT:g} s: {self.logs()}")

    def busy(self, seconds: float = 240) -> None:
        """Occupy the only process of the first worker."""
        self.send("sleep", seconds)
        self.held(1)

    def start(self, place: int) -> Child:
        """Start the program at a place, and return when it works."""
        program = self.case.programs[place]
        log, words = self.group.folder / f"{place}.log", self._words(place)
        place_of = {"C_FORCE_ROOT": "1", "WORKERS_CASE": f"{self.number} {place}", "WORKERS_BROKER": self.broker}
        env = {**os.environ, **place_of, "PYTHONPATH": os.pathsep.join(map(str, (PROJECT / "src", PROJECT)))}
        if program.release:
            env["PYTHONPATH"] = f"{self._installed(program.release)}{os.pathsep}{env['PYTHONPATH']}"
        if program.release or program.through:
            command = [
                *shlex.split(program.through.format(folder=self.group.folder)),
                sys.executable,
                "-m",
                "celery",
                *words,
            ]
            child = self.group.start(command, log, cwd=PROJECT, env=env)
        else:
            child = self.group.start_python("celery", words, log, cwd=PROJECT, env=env)
        self.processes[place] = child
        if program.ready and not poll(
            lambda: program.ready in tail(log, 1000) or child.poll() is not None, START_TIMEOUT
        ):
            raise Failure(f"{self.number}: program {place} is not ready after {START_TIMEOUT:g} s: {self.logs()}")
        if child.poll() is not None:
            raise Failure(f"{self.number}: program {place} has ended: {self.logs()}")
        return child

    def _words(self, place: int) -> list[str]:
        """Return the arguments of the command `celery`."""
        program = self.case.programs[place]
        words = ["-A", "tests.cases.workers.apps", program.command, "-l", "INFO"]
        words += shlex.split(program.flags.format(folder=self.group.folder))
        if program.command == "worker":
            words += ["-n", f"{program.node or f'{program.app}{place}'}@%h"]
        return words

    def _installed(self, requirements: str) -> Path:
        """Install packages for this case, without their dependencies."""
        folder = self.group.folder / "packages"
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
        if subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, *requirements.split()], check=False
        ).returncode:
            raise Failure(f"{self.number} needs {requirements}, which pip cannot install")
        return folder

    def stop(self, place: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program; after SIGKILL return when it has ended."""
        self.processes[place].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[place].wait(START_TIMEOUT)

    def logs(self) -> str:
        """Return the last lines of each program's log."""
        return " | ".join(tail(self.group.folder / f"{place}.log", 3) for place in self.processes)


@contextmanager
def staged(number: str, case: Case, broker: str) -> Iterator[Scene]:
    """Run a case on a broker, which it should have for itself, until the block ends.

    Raises:
        Failure: the broker does not answer, or a program does not start or do what the case needs.
    """
    with ForkingGroup("workers") as group:
        scene = Scene(number, case, broker, group)
        try:
            scene.client.ping()
        except RedisError as error:
            raise Failure(f"the broker does not answer: {error}") from error
        if case.before:
            case.before(scene)
        for place, program in enumerate(case.programs):
            if program.command and place not in scene.processes:
                scene.start(place)
        if case.after:
            case.after(scene)
        yield scene
