"""The sentences about tasks that are signed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from celery.result import AsyncResult
from pytest_bdd import given, parsers, when

from fixtures import PROJECT
from fixtures.celery_worker.client import Sent
from fixtures.run.forks import ForkingGroup
from fixtures.stacks.protocols import Broker, Private
from steps.celery_worker.celery_tasks import TASK_TYPES


@given("a broker with a worker that accepts only signed tasks", target_fixture="broker")
def have_signed_broker(private: Private, signing_folder: Path) -> Broker:
    """Have a worker that trusts one certificate."""
    return private.broker(workers=1, SIGNING_FOLDER=str(signing_folder))


@when(parsers.cfparse('the task "{task}" is sent with {given:Arguments} and signed', extra_types=TASK_TYPES))
def send_signed(broker: Broker, sent: Sent, signing_folder: Path, task: str, given: list[object]) -> None:
    """Send a task with Celery's own command, since signing changes a whole process."""
    # The command takes "json" as its own default, whatever the settings say.
    call = ("call", f"worker.{task}", "--args", json.dumps(given), "--serializer", "auth")
    settings = {"BROKER_URL": broker.url, "SIGNING_FOLDER": str(signing_folder)}
    with ForkingGroup() as group:
        log, source = group.folder / "said", PROJECT / "src"
        arguments = ["-A", "worker", *call]
        code = group.start_python("celery", arguments, log, cwd=source, env={**os.environ, **settings}).wait(30.0)
        said = log.read_text()
    assert code == 0, f"it ends with exit code {code}: {said}"
    sent.results.append(AsyncResult(said.split()[-1], app=sent.app))
