"""Run the workers of one row of docs/incidents.md, "Running workers", until Ctrl-C.

Use another broker for each row: messages, settings and keys of a row stay there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from tempfile import gettempdir
from typing import Any

import celery.worker.request
import kombu.transport.redis
from celery import Celery, chord
from celery.signals import worker_process_init, worker_ready
from celery.worker.control import Panel
from redis.exceptions import RedisError

from redis_practices.cli import Parser, UsageError, nearest, run, say
from redis_practices.clients import checked_url
from tests.cases.workers.scenes import Case, Program, Scene, Settings, staged

LIMITLESS: Settings = {"task_soft_time_limit": ..., "task_time_limit": ...}
"""An app whose tasks have no time limit."""

EARLY: Settings = {"task_acks_late": ..., "task_reject_on_worker_lost": ...}
"""An app that acknowledges its tasks before they run."""

TENS = {"priority_steps": list(range(10)), "queue_order_strategy": "priority"}
"""Ten priorities."""

PERIODIC: Mapping[str, Any] = {"task": "shop.add", "schedule": timedelta(seconds=1)}
"""A task that beat sends each second, as many times as beats run."""

GEVENT = "gevent greenlet zope.event zope.interface"
"""The packages of that pool, which the project does not need."""

BEAT = Program(
    {"beat_schedule": {"each second": PERIODIC}}, command="beat", flags="-s {folder}/schedule", ready="beat: Starting"
)

ONE = Program(flags="-P solo --without-gossip --without-mingle --without-heartbeat")
"""A worker that needs little."""


def mute(_app: Celery) -> None:
    """Let a worker take no message when it is ready; remote control has another channel."""

    def take_nothing(sender: Any, **_: Any) -> None:
        sender.task_consumer.channel.qos.can_consume = lambda: False

    worker_ready.connect(take_nothing, weak=False)


def stillborn(_app: Celery) -> None:
    """Let no later process of the pool come up, so that the worker kills each one, and starts another."""

    def no_more(**_: Any) -> None:
        # The first process is forked before the worker is ready.
        worker_process_init.connect(lambda **_: time.sleep(3600), weak=False)

    worker_ready.connect(no_more, weak=False)


def ahead(_app: Celery) -> None:
    """Set the clock of a worker 900 s ahead, where it notes the delivery and the start of a task."""

    def late() -> float:
        return time.time() + 900

    kombu.transport.redis.time = late  # type: ignore[attr-defined]
    celery.worker.request.time = late


def aged(_app: Celery) -> None:
    """Date the start of a worker back by two days."""

    def date_back(sender: Any, **_: Any) -> None:
        sender.controller.startup_time -= timedelta(days=2)

    worker_ready.connect(date_back, weak=False)


def slow(_app: Celery) -> None:
    """Need 5 s to import the app."""
    time.sleep(5)


def without_conf(_app: Celery) -> None:
    """Replace the control command `conf`."""
    Panel.data["conf"] = lambda _state, **_: {"error": "configuration inspection is disabled"}


def replaced(scene: Scene) -> None:
    """Kill the first worker while it runs a task."""
    scene.start(0)
    scene.busy()
    scene.stop(0)


def disconnected(scene: Scene) -> None:
    """Close the workers' connections while a task runs."""
    scene.busy(120)
    scene.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def ended_by_the_shell(scene: Scene) -> None:
    """Ask the shell that started the worker to end."""
    scene.busy()
    scene.stop(0, signal.SIGTERM)


def hoarded(scene: Scene) -> None:
    """Let the first worker take all tasks before the second one starts."""
    scene.start(0)
    scene.send("sleep", 60, times=4)
    scene.held(4)


def limited(scene: Scene) -> None:
    """Send tasks with a rate limit, then one without."""
    scene.send("limited", times=20)
    scene.send("add", 1)


def refused(scene: Scene) -> None:
    """Send what the worker will refuse when it has time."""
    scene.busy()
    scene.send("add", 1, 2, times=3, by=1)


def unknown(scene: Scene) -> None:
    """Send a task that the worker will discard when it has time."""
    scene.busy()
    scene.send("renamed", times=3)


def large(scene: Scene) -> None:
    """Fill the queue with 40 MB of arguments."""
    scene.busy()
    scene.send("add", "x" * 2_000_000, times=20)


def uneven(scene: Scene) -> None:
    """Start a chord whose last member runs longer than results live."""
    tasks = scene.app().tasks
    chord([tasks["shop.sleep"].si(1), tasks["shop.sleep"].si(10)])(tasks["shop.gather"].s())


def frozen(scene: Scene) -> None:
    """Stop a worker that holds tasks."""
    scene.send("sleep", 60, times=4)
    scene.held(4)
    scene.stop(0, signal.SIGSTOP)


def crowded(scene: Scene) -> None:
    """Lower the server's limit before the workers connect, and connect 12 senders."""
    scene.client.config_set("maxclients", 40)
    connections = [scene.app().connection_for_write() for _ in range(12)]
    for connection in connections:
        connection.default_channel.client.ping()
    scene.open += connections


def left_behind(scene: Scene) -> None:
    """Leave the mailboxes of ten dead clients and of ten dead workers."""
    for _ in range(10):
        scene.client.rpush(f"{uuid.uuid4()}.reply.celery.pidbox", "x" * 1_000_000)
        scene.client.rpush(f"celeryev.{uuid.uuid4()}", "x" * 1_000_000)


def stuck(scene: Scene) -> None:
    """Leave an unacknowledged task that the lock of redelivery keeps."""
    scene.client.set("unacked_mutex", "stuck")
    scene.start(0)
    scene.busy()
    scene.stop(0)
    tags: Any = scene.client.zrange("unacked_index", 0, 0)
    scene.client.zadd("unacked_index", dict.fromkeys(tags, time.time() - 7200))


def mixed(scene: Scene) -> None:
    """Send long tasks, then short ones."""
    scene.send("sleep", 60, times=3)
    scene.send("sleep", 0.1, times=5)


def granted(scene: Scene) -> None:
    """Make the user of the application."""
    rights = "on >secret resetkeys resetchannels ~* &* +@all -@dangerous -@admin +info"
    scene.client.execute_command("ACL", "SETUSER", "app", *rights.split())


def other_reader(scene: Scene) -> None:
    """Let another program read a filled queue, one message a second."""
    scene.client.lpush("partner", *["{}"] * 600)

    def read() -> None:
        with suppress(RedisError):
            while scene.client.brpop(["partner"], 5):
                time.sleep(1)

    threading.Thread(target=read, daemon=True).start()


def ending(scene: Scene) -> None:
    """Let the worker end warm while a task runs."""
    scene.busy(30)
    scene.stop(0, signal.SIGTERM)


DEFECTS: Mapping[str, Case] = {
    "W-01": Case((Program(transport={"visibility_timeout": 60}),) * 2, after=lambda at: at.send("sleep", 200)),
    "W-02": Case(
        (Program(transport={"visibility_timeout": 60}),) * 2,
        after=lambda at: at.send("sleep", 1, times=3, countdown=600),
    ),
    "W-03": Case(
        (
            Program(
                {"worker_prefetch_multiplier": 4, "task_time_limit": 50, "task_soft_time_limit": 45},
                {"visibility_timeout": 60},
            ),
        ),
        after=lambda at: at.send("sleep", 40, times=4),
    ),
    "W-04": Case(
        (
            Program(),
            Program(
                {"task_default_queue": "mail", "task_time_limit": 30, "task_soft_time_limit": 20},
                {"visibility_timeout": 60},
                app="mail",
            ),
        ),
        after=lambda at: at.send("sleep", 200),
    ),
    "W-05": Case(
        (Program({"result_backend_transport_options": {"visibility_timeout": 43200}}, {"visibility_timeout": ...}),),
        after=lambda at: at.send("add", 1, 2, countdown=7200),
    ),
    "W-06": Case((Program(), Program()), before=replaced),
    "W-07": Case((Program(tasks={"add": {}, "die": {}}),), after=lambda at: at.send("die")),
    "W-08": Case(
        (Program({"task_reject_on_worker_lost": ...}, tasks={"add": {}, "die": {}}),), after=lambda at: at.send("die")
    ),
    "W-09": Case(
        (Program({"worker_cancel_long_running_tasks_on_connection_loss": False}, {"visibility_timeout": 360}),),
        after=disconnected,
    ),
    "W-10": Case((Program(through="""sh -c '"$@"; true' sh"""),), after=ended_by_the_shell),
    "W-11": Case((Program(LIMITLESS, tasks={"add": {}, "hang": {}}),), after=lambda at: at.send("hang")),
    "W-12": Case(
        (Program({"task_time_limit": 2, "task_soft_time_limit": ...}, flags="-P threads -c 2"),),
        after=lambda at: at.send("sleep", 120),
    ),
    "W-13": Case((Program({"task_soft_time_limit": 60, "task_time_limit": 30}),)),
    "W-14": Case((Program({"worker_prefetch_multiplier": 4}),) * 2, before=hoarded),
    "W-15": Case((Program({"worker_prefetch_multiplier": 0}),), after=lambda at: at.send("sleep", 1, times=500)),
    "W-16": Case(
        (Program({"worker_eta_task_limit": ...}),), after=lambda at: at.send("add", 1, times=2000, countdown=3000)
    ),
    "W-17": Case(
        (Program({"worker_prefetch_multiplier": 4}, tasks={"add": {}, "limited": {"rate_limit": "1/m"}}),),
        after=limited,
    ),
    "W-18": Case((Program({"accept_content": ["pickle", "json"]}),)),
    "W-19": Case(
        (Program(), Program({"accept_content": ["pickle"], "task_serializer": "pickle"}, command="")), after=refused
    ),
    "W-20": Case((Program(),), after=large),
    "W-21": Case(
        (Program({"result_expires": None}),), after=lambda at: at.send("add", 1, 2, times=100, ignore_result=False)
    ),
    "W-22": Case((Program({"result_expires": 3}, flags="-c 2", tasks={"gather": {}, "sleep": {}}),), after=uneven),
    "W-23": Case((Program({"result_backend_always_retry": ...}),)),
    "W-24": Case((Program(),), after=lambda at: at.send("add", 1, times=5, queue="mail")),
    "W-25": Case((Program({"task_routes": {"shop.add": {"queue": "biling"}}}, flags="-c 1 -Q celery,billing"),)),
    "W-26": Case((Program(),), after=unknown),
    "W-27": Case((Program({"beat_schedule": {"each day": {**PERIODIC, "task": "shop.clean_upp"}}}),)),
    "W-28": Case((Program(),), after=lambda at: at.app().control.cancel_consumer("celery")),
    "W-29": Case(
        (Program(transport={"priority_steps": [0, 3, 6, 9]}), Program(transport=TENS, command="")),
        after=lambda at: at.send("add", 1, times=3, by=1, priority=1),
    ),
    "W-30": Case((Program(), Program(app="mail", tasks={"keep": {}}))),
    "W-31": Case(
        (Program(transport={"global_keyprefix": "shop:"}), Program(command="")),
        after=lambda at: at.send("add", 1, times=3, by=1),
    ),
    "W-32": Case((Program(changed=mute),), after=lambda at: at.send("add", 1, times=5)),
    "W-33": Case((Program(node="worker1"),) * 2),
    "W-34": Case((Program({"worker_prefetch_multiplier": 4}),), after=frozen),
    "W-35": Case(
        (Program({"worker_max_tasks_per_child": 1, "worker_proc_alive_timeout": 1.0}, changed=stillborn),),
        after=lambda at: at.send("add", 1, times=3),
    ),
    "W-36": Case((Program(changed=aged), Program(tasks={"add": {}, "new": {}, "sleep": {}}))),
    "W-37": Case((Program(release="kombu==5.6.2"),)),
    "W-38": Case((Program(changed=ahead),), after=lambda at: at.busy()),
    "W-39": Case((Program({"enable_utc": False, "timezone": "Asia/Shanghai"}), Program({"timezone": "UTC"}))),
    "W-40": Case(
        (Program({"worker_max_tasks_per_child": ...}, tasks={"add": {}, "keep": {}}),),
        after=lambda at: at.send("keep", 5, times=20),
    ),
    "W-41": Case(
        (Program(flags="-c 1 --max-memory-per-child 1000"),), after=lambda at: at.send("sleep", 0.5, times=200)
    ),
    "W-42": Case(
        (Program(flags="-c 4"),), before=crowded, after=lambda at: at.send("add", 1, times=20, ignore_result=False)
    ),
    "W-43": Case((Program({"broker_connection_retry": False}),)),
    "W-44": Case((Program(), BEAT, Program(BEAT.settings, command="beat", flags="-s {folder}/2", ready=BEAT.ready))),
    "W-45": Case((Program(BEAT.settings),)),
    "W-46": Case(
        (
            Program(),
            Program(
                {"beat_schedule": {"each second": {**PERIODIC, "task": "shop.sleep", "args": (5,)}}},
                command="beat",
                flags=BEAT.flags,
                ready=BEAT.ready,
            ),
        )
    ),
    "W-47": Case((Program(),), before=left_behind),
    "W-48": Case(
        (Program(tasks={"fail": {"autoretry_for": (Exception,), "max_retries": None, "default_retry_delay": 1}}),),
        after=lambda at: at.send("fail", times=5),
    ),
    "W-49": Case((Program(),), after=mixed),
    "W-50": Case((Program(), Program()), before=stuck),
}
"""The defects, each in workers that have no other."""

HEALTHY: Mapping[str, Case] = {
    "HW-01": Case((Program(flags="-P prefork -c 2"),), after=lambda at: at.send("add", 1, 2, times=10)),
    "HW-02": Case((Program(flags="-P solo"),), after=lambda at: at.busy(20)),
    "HW-03": Case((Program(LIMITLESS, flags="-P threads -c 4"),), after=lambda at: at.send("sleep", 1, times=8)),
    "HW-04": Case(
        (Program(LIMITLESS, flags="-P gevent -c 100", release=GEVENT),), after=lambda at: at.send("sleep", 1, times=200)
    ),
    "HW-05": Case((Program(flags="--autoscale 4,1"),), after=lambda at: at.send("sleep", 0.5, times=100)),
    "HW-06": Case((Program(flags="-c 1 -O fair"), Program(flags="-c 1 -O default"))),
    "HW-07": Case((Program(flags="-c 1 --max-tasks-per-child 1"),), after=lambda at: at.send("sleep", 0.2, times=200)),
    "HW-08": Case(
        (Program({"worker_prefetch_multiplier": 4}, flags="-c 2"),), after=lambda at: at.send("sleep", 0.2, times=500)
    ),
    "HW-09": Case(
        (Program(transport={**TENS, "sep": ":"}),), after=lambda at: at.send("sleep", 0.2, times=100, priority=7)
    ),
    "HW-10": Case((Program(transport={"global_keyprefix": "shop:"}),), after=lambda at: at.send("add", 1, times=5)),
    "HW-11": Case(tuple(Program(app=app, database=place) for place, app in enumerate(("shop", "mail", "bill")))),
    "HW-12": Case(
        (
            Program(
                {"task_time_limit": 30, "task_soft_time_limit": 20},
                {"global_keyprefix": "shop:", "visibility_timeout": 60},
            ),
            Program({}, {"global_keyprefix": "mail:", "visibility_timeout": 43200}, app="mail"),
        ),
        after=lambda at: at.send("sleep", 200, by=1),
    ),
    "HW-13": Case((ONE,) * 100),
    "HW-14": Case((Program({"worker_enable_remote_control": False}),)),
    "HW-15": Case((Program({"control_exchange": "shop"}),)),
    "HW-16": Case((Program(login="app:secret"),), before=granted, after=lambda at: at.send("add", 1, 2, times=10)),
    "HW-17": Case((Program(flags="-c 1 --without-gossip --without-mingle --without-heartbeat"),)),
    "HW-18": Case((Program({"task_time_limit": 30, "task_soft_time_limit": 25}, {"visibility_timeout": 60}),)),
    "HW-19": Case(
        (Program(transport={"visibility_timeout": 43200}),), after=lambda at: at.send("add", 1, countdown=21600)
    ),
    "HW-20": Case((Program({"result_backend": None, "result_expires": 0}),)),
    "HW-21": Case(
        (Program({"task_ignore_result": True, "result_expires": None}),),
        after=lambda at: at.send("add", 1, times=10),
    ),
    "HW-22": Case(
        (Program({"result_backend": f"file://{gettempdir()}", "result_expires": None}),),
        after=lambda at: at.send("add", 1, times=10, ignore_result=False),
    ),
    "HW-23": Case((Program(EARLY),), after=lambda at: at.send("add", 1, 2, times=10)),
    "HW-24": Case((Program({"task_acks_late": ...}),)),
    "HW-25": Case((Program(),), after=other_reader),
    "HW-26": Case(
        (Program(), Program(app="mail", flags="-c 1 -Q partner")),
        after=lambda at: at.send("sleep", 10, times=20, by=1, queue="partner"),
    ),
    "HW-27": Case((Program(release="celery==5.7.0"), Program(tasks={"add": {}, "new": {}, "sleep": {}}))),
    "HW-28": Case((Program(changed=slow, ready=""),)),
    "HW-29": Case((Program(),), after=ending),
    "HW-30": Case(
        (
            Program(),
            *[Program(BEAT.settings, command="beat", flags=BEAT.flags, through="flock {folder}/lock", ready="")] * 2,
        )
    ),
    "HW-31": Case((Program(changed=without_conf),)),
    "HW-32": Case((Program({"worker_prefetch_multiplier": 64}),), after=lambda at: at.send("add", 1, times=5000)),
}
"""The healthy setups."""

CASES: Mapping[str, Case] = {**DEFECTS, **HEALTHY}

if "WORKERS_CASE" in os.environ:
    _number, _place = os.environ["WORKERS_CASE"].split()
    _program = CASES[_number].programs[int(_place)]
    app = _program.made(os.environ["WORKERS_BROKER"])
    if _program.changed:
        _program.changed(app)

EXAMPLES = """\
  python src/serve.py cache --port 6399 &
  python -m tests.cases.workers.apps W-03 --broker redis://127.0.0.1:6399/0"""


def main() -> None:
    """Start the programs of the row, and wait for the end."""
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("row", help="the number of the row: W-01 to W-50, or HW-01 to HW-32")
    parser.add_argument("--broker", required=True, metavar="URL", help="a broker that nothing else uses")
    options = parser.parse_args()
    broker = checked_url(options.broker, "--broker")
    if not (case := CASES.get(options.row.upper())):
        raise UsageError(f"there is no row {options.row}{nearest(options.row.upper(), CASES)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), staged(options.row.upper(), case, broker) as scene:
        say(f"{scene.number} runs until Ctrl-C; the logs are in {scene.group.folder}")
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    run(main)
