"""Provide a broker with workers and senders for the cases about Celery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from celery import Celery, Signature
from celery.result import AsyncResult

from fixtures.stacks.protocols import worker_environment
from redis_practices.celery_worker.sending import sender
from redis_practices.polling import eventually
from redis_practices.servers.celery import WorkerProcess, start_worker
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, Config, Server, start_server
from tests.cases.preparing import prepared
from worker import settings

ENDED = ("SUCCESS", "FAILURE", "REVOKED")
"""The final states of a task."""


def detached(result: AsyncResult) -> str:
    """Return the id of a result, and end its subscription, which would outlive the broker."""
    backend, result.backend = result.backend, None
    backend.remove_pending_result(result)
    return str(result.id)


class Bench:
    """An embedded broker with its workers; `config` adds directives."""

    def __init__(self, group: ProcessGroup, config: Config | None = None) -> None:
        self._group = group
        self.server: Server = start_server(group, {**BROKER, **(config or {})})
        self.url = self.server.url
        self.client = self.server.client()
        self._workers = 0

    def worker(self, url: str | None = None, **environment: str) -> WorkerProcess:
        """Start a worker with the settings in `environment`, and wait until it consumes."""
        self._workers += 1
        changed = worker_environment({"WORKER_CONCURRENCY": "1", **environment})
        return start_worker(self._group, url or self.url, f"worker{self._workers}", changed)

    def sender(self, url: str | None = None, timeout: float = 5.0) -> Celery:
        """Return an app that sends to the broker."""
        return sender(settings(url or self.url, timeout))

    def send(self, task: str, arguments: Sequence[object] = (), **options: Any) -> str:
        """Send a task and return its id, without a subscription."""
        return detached(self.sender().send_task(f"worker.{task}", arguments, **options))

    def signature(self, task: str, arguments: Sequence[object] = (), **options: Any) -> Signature:
        """Return a task that has yet to be sent, for a chord; sending it subscribes to no result."""
        app = self.sender()
        app.backend.on_task_call = lambda *_: None
        return app.signature(f"worker.{task}", args=arguments, **options)

    def has_ended(self, task_id: str) -> bool:
        """Tell whether a task succeeded."""
        return self.state(task_id) == "SUCCESS"

    def state(self, task_id: str) -> str:
        """Return the state of a task's stored result."""
        stored = self.client.get(f"celery-task-meta-{task_id}")
        return str(json.loads(stored)["status"]) if stored else "PENDING"

    def ended(self, task_id: str, within: float) -> str:
        """Return the final state of a task, or its state after `within` seconds."""
        with suppress(AssertionError):
            eventually(lambda: self.state(task_id) in ENDED, within)
        return self.state(task_id)

    def runs(self, task_id: str) -> int:
        """Return how often a task that counts its runs has begun."""
        return self.client.llen(f"runs:{task_id}")

    def await_hearing(self) -> None:
        """Wait until all workers hear commands: they subscribe after they say that they are ready."""
        prepared(lambda: len(self.sender().control.ping(timeout=0.5, limit=self._workers)) == self._workers)

    def await_run(self, task_id: str) -> None:
        """Wait until a task that counts its runs has begun."""
        prepared(lambda: self.runs(task_id) > 0)
