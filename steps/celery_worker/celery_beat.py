"""The sentences about celery beat."""

from __future__ import annotations

import dbm
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures.run.errors import Unsupported
from fixtures.run.forks import ForkingGroup
from fixtures.stacks.external.key_cleanup import on_server
from fixtures.stacks.worker_environment import worker_environment
from redis_practices.celery_worker.queue_age import SENT_AT
from redis_practices.polling import eventually
from redis_practices.servers.celery import Beat
from steps.common.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.deployments import Broker

PATIENCE = 30.0
"""Seconds after which a task that no beat has sent is a failure."""


@dataclass
class Beats:
    """The beats of a scenario, and the queue that they send to, which nobody serves."""

    group: ForkingGroup
    broker: Broker
    queue: str
    settings: dict[str, str] = field(default_factory=dict)
    running: list[Beat] = field(default_factory=list)
    back: float = 0.0
    """When the beat that was ended was there again, in seconds since 1970."""

    def start(self) -> None:
        """Start one more beat."""
        settings = worker_environment({"BROKER_URL": self.broker.url, "TASK_QUEUE": self.queue, **self.settings})
        self.running.append(Beat(self.group, f"beat{len(self.running) + 1}", settings))

    def sent(self, number: int = 0) -> list[float]:
        """Return when tasks were sent, in seconds since 1970, once there are at least `number` of them."""

        def enough() -> list[float]:
            """Require them now."""
            with self.broker.client() as client:
                moments = sorted(
                    json.loads(task)["headers"][SENT_AT] for task in client.lrange(on_server(self.queue), 0, -1)
                )
            assert len(moments) >= number, f"{len(moments)} tasks were sent:\n{self.running[0].log_tail(10)}"
            return moments

        return eventually(enough, within=PATIENCE)


@pytest.fixture
def beats(broker: Broker) -> Iterator[Beats]:
    """Give a place for beats; they, and what they have sent, are gone in the end."""
    with ForkingGroup() as group:
        held = Beats(group, broker, f"practices-{secrets.token_hex(6)}")
        yield held
    with broker.client() as client:
        client.delete(on_server(held.queue))


@given(parsers.cfparse("a beat that sends a task every {period:Count} seconds", extra_types=TYPES))
@given(
    parsers.cfparse(
        "a beat that sends a task every {period:Count} seconds with the setting {setting}", extra_types=TYPES
    )
)
def start_beat(beats: Beats, period: int, setting: str = "") -> None:
    """Start a beat with a timetable of one task, and perhaps a setting of ``src/worker.py``, as NAME=value."""
    if setting and keeps_in_memory(beats.group.folder):
        raise Unsupported(
            "needs a Python whose dbm writes to its file at once: this one's keeps all until it is closed"
        )
    beats.settings = {"BEAT_EVERY": str(period), **dict([setting.split("=")] if setting else [])}
    beats.start()


def keeps_in_memory(folder: Path) -> bool:
    """Tell whether Python's dbm, in which a beat notes what it has sent, keeps all in memory until it is closed.

    Berkeley DB does, as Debian's Python has it: a beat that is killed has noted nothing, and counts anew.
    """
    name = str(folder / "look")
    with dbm.open(name, "c") as store:
        store["key"] = "value"
        return not any(b"value" in file.read_bytes() for file in folder.glob("look*"))


@given("a second beat like it")
def start_second_beat(beats: Beats) -> None:
    """Start a beat with the same timetable and a file of its own, as a second replica would be."""
    beats.start()


@when(parsers.parse("the beat is {how:w} after the first task and started again"))
def restart_beat(beats: Beats, how: str) -> None:
    """Wait for the first task, and end the beat."""
    beats.sent(1)
    # It has been sent, but the beat may not have noted it yet; that moment is not the subject.
    eventually(beats.running[0].sleeps_after_sending, within=PATIENCE, every=0.01)
    beats.running[0].restart(kill=how == "killed")
    eventually(lambda: beats.running[0].starts() == 2, within=PATIENCE, every=0.01)  # noqa: PLR2004 - the second start
    beats.back = time.time()


@then(parsers.cfparse("the next task is sent {bound:Bound} after the first", extra_types=TYPES))
def check_next(beats: Beats, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between the first two tasks against a bound."""
    first, second = beats.sent(2)[:2]
    measure("from the first to the next", unit="s", bound=bound, seen=round(second - first, 2))


@then(parsers.cfparse("the next task is sent {bound:Bound} of the beat's return", extra_types=TYPES))
def check_late(beats: Beats, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the time between the new start of the beat and its next task against a bound."""
    second = beats.sent(2)[1]
    measure("from the beat's return to the next task", unit="s", bound=bound, seen=round(second - beats.back, 2))
