"""The sentences about celery beat."""

from __future__ import annotations

import dbm
import time
from collections.abc import Callable
from pathlib import Path

from pytest_bdd import given, parsers, then, when

from fixtures.celery_worker.workers import PATIENCE, Beats
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES


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
