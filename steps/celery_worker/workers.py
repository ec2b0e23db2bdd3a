"""The sentences that start workers and beats, wait until they take tasks, and ask whether they live."""

from __future__ import annotations

import dbm
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from fixtures.bdd.vocabulary import records, register
from fixtures.celery_worker.workers import Beats, celery_release, solo_worker, wait_until_it_hears
from fixtures.context import Context, Plan, Queue, target
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.run.own_time import WorkersClock
from fixtures.stacks.protocols import Worker
from redis_practices.polling import eventually
from redis_practices.servers.server import EmbeddedError
from steps.celery_worker.tasks import PATIENCE, Tasks, queue_length, read_settings, setting
from steps.common.vocabulary import TYPES, Duration, Table, options, seconds

# What a SETTING of a worker means


def in_seconds(text: str) -> str:
    """Read "0.5 seconds" for an environment variable."""
    return f"{seconds(text):g}"


setting("concurrency", "tasks that a worker runs at once", variable="WORKER_CONCURRENCY")
setting("pool", "how a worker runs tasks: prefork, threads, or solo for one at a time", variable="WORKER_POOL")
setting("prefetch multiplier", "tasks a worker reserves for each it can run", variable="PREFETCH_MULTIPLIER")
setting("priority steps", "the priorities that have separate lists", variable="PRIORITY_STEPS")
setting("result expires", "the time after which a result is deleted", in_seconds, variable="RESULT_EXPIRES")
setting("Celery version", "the release of Celery that a worker runs", celery_release, variable="PYTHONPATH")
setting("sync every", "tasks after which a beat writes its file; 0 for every 3 minutes", variable="BEAT_SYNC_EVERY")


@register("setting", "visibility timeout", "the time after which a task without acknowledgement is delivered again")
def visibility_timeout(plan: Plan, value: str) -> None:
    """Set it; workers look for such tasks every half second, unless the feature says otherwise."""
    sweep = {"RESTORE_INTERVAL": "0.5", "RESTORE_THROTTLE": "1"}
    plan.environment |= {"VISIBILITY_TIMEOUT": in_seconds(value), **sweep, **plan.environment}


@register("setting", "state file", 'the file in which a worker keeps what was revoked for its next start, or "none"')
def state_file(plan: Plan, value: str) -> None:
    """Set its name; it stands in the folder of the scenario."""
    if value != "none":
        plan.environment["STATE_DB"] = value


PLACES: Mapping[str, Callable[[Context, str], str]] = {
    "STATE_DB": lambda context, value: str(context.request.getfixturevalue("tmp_path") / value),
    "SIGNING_FOLDER": lambda context, _: str(context.request.getfixturevalue("signing_folder")),
}
"""By variable: the place in the folders of the scenario that its value means."""


def worker_settings(datatable: Table | None) -> dict[str, str]:
    """Return a table of SETTING and VALUE as the environment of a worker."""
    return read_settings("worker", options(datatable, "SETTING")).environment


# Workers


@dataclass
class StartedWorker:
    """A worker as a target of sentences; it does what its process does, and hears questions."""

    tasks: Tasks
    process: Worker
    queue: str

    def is_ready(self) -> bool:
        """Tell whether it answers a ping."""
        with suppress(RedisError, OSError):
            return bool(self.tasks.app.control.ping([self.process.name], timeout=0.5))
        return False

    def probe(self) -> None:
        """Send tasks until it has done one.

        The result is polled: a sender whose connection the broker has cut may write its subscription into the dead
        one. It then subscribes again, and misses what was published meanwhile.
        """
        sent = self.tasks.app.send_task("worker.whoami", queue=self.queue)
        self.tasks.probes.append(sent)
        WorkersClock().eventually(sent.ready, within=PATIENCE, every=0.01)
        ran = sent.get(timeout=1.0)["worker"]
        assert ran == self.process.name, f"{ran} ran the task, not {self.process.name}"

    def pause(self) -> None:
        """Pause it; alone on an isolated broker, when it has just asked for a task, which comes within 1 s."""
        context = self.tasks.context
        if "broker" in context.own:
            # The sender is connected before, so that it needs no time then; no worker serves this queue.
            self.tasks.app.send_task("worker.add", [4, 8], queue="elsewhere", ignore_result=True)
            with context.broker.client() as client:
                asked = brpops(client)
                WorkersClock().eventually(lambda: brpops(client) > asked, within=10.0, every=0.002)
                # Answered is not yet asked again: a worker that is paused in between would take nothing.
                eventually(lambda: client.info("clients")["blocked_clients"] > 0, within=10.0, every=0.001)
        self.process.pause()

    def __getattr__(self, name: str) -> Any:
        """Return what is asked of the process: kill, pause, stop, wait_end, log_tail."""
        return getattr(self.process, name)


def brpops(client: Redis) -> int:
    """Return how many BRPOP were answered; a worker asks again at once."""
    calls: int = client.info("commandstats").get("cmdstat_brpop", {}).get("calls", 0)
    return calls


class Starting:
    """A worker that waits for its broker: each question waits until it is ready."""

    def __init__(self, start: Callable[[], Worker]) -> None:
        """Start it in the background."""
        pool = ThreadPoolExecutor(1)
        self._started = pool.submit(start)
        pool.shutdown(wait=False)

    def __getattr__(self, name: str) -> Any:
        """Return what is asked of the worker."""
        return getattr(self._started.result(PATIENCE), name)


def end(worker: Worker) -> None:
    """End a worker that still runs: its tasks are done by then, and a warm shutdown would take 3 s."""
    if worker.runs:
        worker.kill()


@dataclass
class Workers:
    """The workers of a scenario, in the order of their start."""

    context: Context
    all: list[StartedWorker] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    """Settings of the first ones; those that start later have them too."""

    def have(self, number: int, environment: dict[str, str]) -> None:
        """Add workers.

        One without settings is the worker that the scenarios of this process share. Workers of an isolated broker start
        with it. All others share a key prefix that no other scenario has.
        """
        context, tasks = self.context, self.context.part(Tasks)
        context.role = "broker"
        environment |= {
            name: place(context, environment[name]) for name, place in PLACES.items() if name in environment
        }
        tasks.redelivery = float(environment.get("VISIBILITY_TIMEOUT", tasks.redelivery))
        if context.planned:
            self._keep(context.start_broker(number, environment).workers(), environment)
            return
        if self._shares and not self.all:
            if number == 1 and not environment:
                self._keep(context.broker.workers()[:1], environment)
                return
            tasks.keep_apart()
        self.environment = self.environment or dict(environment)
        with ThreadPoolExecutor(number) as pool:
            self._keep(list(pool.map(lambda _: self._started(environment), range(number))), environment)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start one more worker of the same queue."""
        own: Queue | None = self.context.own.get("queue")
        self._keep([self._lent(own) if own and not environment else self._started(environment)], environment)

    @property
    def _shares(self) -> bool:
        """Whether the scenario is on the shared broker, and has no isolated queue there."""
        return not {"broker", "queue"} & set(self.context.own)

    def _keep(self, processes: Sequence[Worker], environment: Mapping[str, str]) -> None:
        queue = {**self.environment, **environment}.get("TASK_QUEUE", self.context.part(Tasks).queue)
        self.all += [StartedWorker(self.context.part(Tasks), one, queue) for one in processes]

    def _started(self, environment: Mapping[str, str]) -> Worker:
        """Start a worker, which ends with the scenario."""
        context, tasks = self.context, self.context.part(Tasks)
        settings = {**self.environment, **environment}
        if "queue" in context.own:
            settings = {"TASK_QUEUE": tasks.queue, **context.own["queue"].environment, **settings}
        if tasks.prefix:
            settings["KEY_PREFIX"] = tasks.prefix
        if "BROKER_URL" in settings:
            settings["BROKER_URL"] = tasks.address(settings["BROKER_URL"])
        if "broker" in context.own and not context.target("the broker").is_ready():
            return cast("Worker", Starting(lambda: context.broker.start_worker(**settings)))
        worker = context.broker.start_worker(**settings)
        if "broker" not in context.own:
            context.ending.callback(end, worker)
        return worker

    def _lent(self, own: Queue) -> Worker:
        """Let a worker that the scenarios of this process share serve the isolated queue."""
        context, app = self.context, self.context.part(Tasks).app
        steps = own.environment.get("PRIORITY_STEPS", "0 3 6 9")
        solo = solo_worker(context.broker, context.request.getfixturevalue("solo_workers"), steps)
        taken = [one.name for one in self.all]
        worker = next(one for one in (solo, context.broker.workers()[0]) if one.name not in taken)
        wait_until_it_hears(app, worker.name)
        told: dict[str, Any] = {"destination": [worker.name], "reply": True, "limit": 1, "timeout": 10}
        assert app.control.add_consumer(own.name, **told), f"{worker.name} does not say that it serves {own.name}"
        context.ending.callback(app.control.cancel_consumer, own.name, **told)
        return worker


@given(parsers.parse("{number:Workers}", extra_types=TYPES))
def have_workers(context: Context, number: int, datatable: Table | None = None) -> None:
    """Start workers on the scenario's broker; the SETTINGs are those of ``worker.py``.

    One without settings is shared by scenarios; all others are the scenario's own.

    Example: ``Given 2 workers``
    """
    context.part(Workers).have(number, worker_settings(datatable))


@when("a worker starts")
@records("wait for other workers", "the time that a worker asks other workers at its start", unit="s")
def start_worker(context: Context, datatable: Table | None = None) -> None:
    """Start one more worker of the same queue, with the settings of the first and those of the table.

    Its end at the start is the error of "the start failed with". While the broker is down, the worker waits for it.

    Example: ``When a worker starts``
    """
    workers = context.part(Workers)
    with context.attempt("start", EmbeddedError):
        workers.start(worker_settings(datatable))
        waited = MINGLE.findall(workers.all[-1].log_tail(400)) if "flags" in options(datatable, "SETTING") else []
        moments = [datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").astimezone() for moment in waited]
        context.record("wait for other workers", (moments[-1] - moments[0]).total_seconds() if moments else 0)


MINGLE = re.compile(r"\[(.+?): INFO/MainProcess\] mingle: ")
"""What a worker logs when it begins to look for other workers, and when it has found none."""


def running(context: Context) -> list[StartedWorker]:
    """Return the workers of the scenario that run."""
    return [one for one in context.part(Workers).all if one.process.runs]


@target("the worker that runs the task", "the worker that has received the task that was sent last")
def running_worker(context: Context) -> StartedWorker:
    """Look for the task in the logs of the workers."""
    received = f"[{context.part(Tasks).last.result.id}] received"
    return next(one for one in running(context) if received in one.process.log_tail(400))


target("every worker", "all workers of the scenario that run")(running)
target("worker {number:d}", "the worker with this number in the order in which workers started")(
    lambda context, number: context.part(Workers).all[number - 1]
)
target("the beat", "the first beat of the scenario")(lambda context: context.part(Beats).running[0])


@then(parsers.parse("{target:Target} still processes tasks", extra_types=TYPES))
def check_still_processes(context: Context, target: str) -> None:
    """Send tasks of this step's own until the worker has done one.

    Example: ``Then worker 1 still processes tasks``
    """
    clock = WorkersClock()
    for worker in context.targets(target):
        clock.eventually(worker.probe, within=PATIENCE, every=0.01)


@when(parsers.parse("{target:Target} is pinged {number:Repeats}", extra_types=TYPES))
@records("pings answered", "questions that worker 1 answered in time", unit="pings")
def ping(context: Context, target: str, number: int) -> None:
    """Ask by remote control whether a worker lives; "every worker" is asked without a name.

    A lost connection counts as no answer if an earlier step of the scenario has had its answers.

    Example: ``When worker 1 is pinged 40 times``
    """
    tasks, name = context.part(Tasks), context.target("worker 1").name
    asked = {"timeout": 0.2} if target == "every worker" else {"destination": [name], "timeout": 5.0}
    is_first, calls = ("pings answered", "") not in context.recorded, list[Any]()
    if is_first:
        # What is sent before it has subscribed to commands reaches no worker.
        wait_until_it_hears(tasks.app, name)
    tasks.clock = WorkersClock()
    with nullcontext() if is_first else suppress(RedisConnectionError):
        calls = [tasks.app.control.broadcast("ping", reply=True, **asked) for _ in range(number)]
    answered = sum(name in reply for replies in calls for reply in replies or [])
    # A busy judge makes an answer late.
    context.record("pings answered", tasks.certain(answered, "answers", more_than=1.0))


# Beats


def keeps_in_memory(folder: Path) -> bool:
    """Tell whether Python's dbm, in which a beat notes what it has sent, keeps all in memory until it is closed.

    Berkeley DB does, as Debian's Python has it: a killed beat has recorded nothing, and counts from the start.
    """
    name = str(folder / "look")
    with dbm.open(name, "c") as store:
        store["key"] = "value"
        return not any(b"value" in file.read_bytes() for file in folder.glob("look*"))


@given(parsers.parse("{number:Beats} a task every {period:Duration}", extra_types=TYPES))
def start_beats(context: Context, number: int, period: Duration, datatable: Table | None = None) -> None:
    """Start beats with the same timetable of one task, each with another file; no worker serves their queue.

    Example: ``Given a beat that sends a task every 3 seconds``
    """
    beats, settings = context.part(Beats), worker_settings(datatable)
    if "BEAT_SYNC_EVERY" in settings and keeps_in_memory(beats.group.folder):
        raise Unsupported(
            "needs a Python whose dbm writes to its file at once: this one's keeps all until it is closed"
        )
    for _ in range(number):
        beats.start(BEAT_EVERY=f"{period.seconds():g}", **settings)


@when(parsers.parse("the beat has sent {number:Tasks}", extra_types=TYPES))
@records("interval of the tasks", "the time between the first two tasks of the beats", unit="s")
@records("time to the next task", "the time from the beat's last start to the second task", unit="s")
def await_sent(context: Context, number: int) -> None:
    """Wait until the beat has sent this number of tasks, and waits for the next.

    Example: ``When the beat has sent 1 task``
    """
    beats = context.part(Beats)
    moments = beats.sent(number)
    # It has been sent, but the beat may not have noted it yet; that moment is not the subject.
    eventually(beats.running[0].sleeps_after_sending, within=PATIENCE, every=0.01)
    if number > 1:
        between, after = moments[1] - moments[0], moments[1] - beats.running[0].begun

        def interval(bound: Bound | None) -> float:
            # A busy judge delays a beat's first task by the time to connect, and no later task.
            return beats.clock.certain(beats.clock.apart(between, bound), bound, "s", 1.0) if bound else between

        context.record("interval of the tasks", interval)
        context.record("time to the next task", lambda bound: beats.clock.apart(after, bound) if bound else after)


@when(parsers.parse("a worker has begun {target:Target}", extra_types=TYPES))
def await_begin(context: Context, target: str) -> None:
    """Wait until a task runs.

    Example: ``When a worker has begun the task``
    """
    task = context.target(target)
    WorkersClock().eventually(lambda: bool(task.runs()), within=PATIENCE, every=0.01)


@when(parsers.parse("{target:Target} has taken {number:Tasks}", extra_types=TYPES))
def await_taken(context: Context, target: str, number: int) -> None:
    """Wait until the worker has taken this number of the sent tasks.

    Example: ``When worker 1 has taken 4 tasks``
    """
    context.target(target)
    sent = len(context.part(Tasks).sent)

    def taken() -> None:
        waiting = queue_length(context)
        assert waiting == sent - number, f"{waiting} of {sent} tasks wait in the queue"

    WorkersClock().eventually(taken, within=PATIENCE, every=0.01)
