"""How two ways are held against a row of a table: by what they take, and by the client's own part of that."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis_practices.tuning.measuring import Comparison, compare_by
from steps.common.vocabulary import bound


def hold(
    measure: Callable[..., None], row: dict[str, str], naive: Callable[[], object], tuned: Callable[[], object]
) -> None:
    """Hold what two ways take against a row, and what they take of this thread's processor time, if it claims that."""
    rounds = int(row.get("ROUNDS", "5"))
    wall, client = compare_by([time.perf_counter, time.thread_time], naive, tuned, rounds=rounds)
    report(measure, row, wall)
    if less := row.get("LESS PROCESSOR TIME"):
        name = f"{row['TUNED']}: less processor time of the client"
        measure(name, unit="times", bound=bound(less), seen=round(client.ratio, 2))


def report(measure: Callable[..., None], row: dict[str, str], seen: Comparison) -> None:
    """Show spread and verdict, and hold the ratio against the row, if it claims one."""
    name = f"{row['TUNED']} against {row['NAIVE']}"
    measure(f"{name}: spread", unit="%", seen=round(seen.spread, 1))
    claimed = None if row["TIMES FASTER"] == "reported" else bound(row["TIMES FASTER"])
    measure(f"{name}: {seen.verdict}", unit="times", bound=claimed, seen=round(seen.ratio, 2))
