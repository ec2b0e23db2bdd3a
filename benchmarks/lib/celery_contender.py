"""List the contenders: how each publishes, its workers, and its guarantee when a worker dies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from lib import PROJECT

sys.path.append(str(PROJECT / "benchmarks" / "contenders"))  # the contenders' modules

AT_MOST_ONCE = "at most once: a task is lost when its worker dies"
ACKNOWLEDGED = "acknowledged: a task is redelivered when its worker dies"
WITH_RESULT = "acknowledged, with a stored result"


@dataclass(frozen=True)
class Contender:
    """One way to carry tasks; `workers` are the command lines of processes that fill two cores."""

    name: str
    guarantee: str
    module: str
    workers: Sequence[Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)


def _celery(module: str, *options: str) -> list[str]:
    """Return the command line of a Celery worker."""
    return ["celery", "-A", module, "worker", "-l", "WARNING", *options]


DEFAULTS = [_celery("celery_defaults", "-c", "2")]
PREFORK = [_celery("celery_recommended", "-c", "2")]
# Acknowledging is most of a worker's time, and a prefork worker does it in one process for all of its pool.
SOLO = [_celery("celery_recommended", "-P", "solo", "-n", f"solo{number}@%h") for number in (1, 2)]
ONE_TRIP = {"BROKER_TRANSPORT": "redis_practices.celery_worker.batch_transport:Transport"}
DELAY = {"ONE_BY_ONE": "1"}

PARTS = ("solo workers", "send_many", "batch_transport")
"""The parts of the recommendation; each is measured alone, with each other part, and with both."""

Parts = frozenset[str]
COMBINATIONS = [frozenset(some) for number in range(len(PARTS) + 1) for some in combinations(PARTS, number)]


def bundle(parts: Parts) -> str:
    """Return the name of the contender with the settings of src/worker.py and these parts."""
    return " + ".join(["celery, settings of worker.py", *(part for part in PARTS if part in parts)])


def _bundled(parts: Parts) -> Contender:
    """Return the contender with these parts."""
    environment = {**({} if "send_many" in parts else DELAY), **(ONE_TRIP if "batch_transport" in parts else {})}
    workers = SOLO if "solo workers" in parts else PREFORK
    return Contender(bundle(parts), ACKNOWLEDGED, "celery_recommended", workers, environment)


CONTENDERS = (
    Contender("celery, defaults", AT_MOST_ONCE, "celery_defaults", DEFAULTS),
    Contender(
        "huey", AT_MOST_ONCE, "huey_contender", [["huey_consumer", "huey_contender.huey", "-k", "process", "-w2"]]
    ),
    Contender("celery, defaults and task_acks_late", ACKNOWLEDGED, "celery_defaults", DEFAULTS, {"ACKS_LATE": "1"}),
    *map(_bundled, COMBINATIONS),
    Contender("dramatiq", ACKNOWLEDGED, "dramatiq_contender", [["dramatiq", "dramatiq_contender", "-p2"]]),
    Contender(
        "taskiq, streams", ACKNOWLEDGED, "taskiq_contender", [["taskiq", "worker", "taskiq_contender:broker", "-w2"]]
    ),
    Contender(
        "celery, defaults with results",
        WITH_RESULT,
        "celery_defaults",
        DEFAULTS,
        {"ACKS_LATE": "1", "RESULTS": "1"},
    ),
    Contender(
        "celery, all three parts, with results", WITH_RESULT, "celery_recommended", SOLO, {"RESULTS": "1", **ONE_TRIP}
    ),
    Contender("rq, without forks", WITH_RESULT, "rq_contender", [["rq", "worker", "-q", "-w", "rq.SimpleWorker"]] * 2),
    Contender("arq", WITH_RESULT, "arq_contender", [["arq", "arq_contender.WorkerSettings"]] * 2),
)
