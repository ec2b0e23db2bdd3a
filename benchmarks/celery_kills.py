"""Carry orders through Celery while a worker is killed each second, and count the orders that each safeguard saved.

Publishers write every order into an outbox and send it. Four workers process the orders, each one once by ``once``. The
orders that a kill has lost are still in the outbox at the end, and are sent again. kombu's transport and the batch
transport run one after the other.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from lib.ending import run
from lib.side_by_side import add_shapes, end, machine

from fixtures.stacks.protocols import worker_environment
from redis_practices.celery_worker.delivery import Outbox
from redis_practices.celery_worker.sending import send_many, sender
from redis_practices.cli import Failure, Parser, count, say
from redis_practices.servers.celery import WorkerProcess, start_worker
from redis_practices.servers.process_group import ProcessGroup
from redis_practices.servers.server import BROKER, Server, start_server
from worker import settings

EXAMPLES = """\
  python benchmarks/celery_kills.py
  python benchmarks/celery_kills.py --orders 5000 --workers 2 --json"""

TRANSPORTS = {"kombu's": "redis", "batch_transport's": "redis_practices.celery_worker.batch_transport:Transport"}
TABLE = """\
| transport | orders a second | workers killed | lost without outbox | repeated without `once` | not exactly once |
|---|--:|--:|--:|--:|--:|"""
PATIENCE = 120.0
"""Seconds without a further finished order after which the run counts as stuck."""


class Carried(NamedTuple):
    """The fate of the orders."""

    orders: int
    kills: int
    seconds: float
    """Seconds from the first sent order to the last finished one, without the resent orders."""
    lost: int
    """Orders that a kill has lost, and that only the outbox had."""
    repeated: int
    """Runs beyond one an order: repeated work without ``once``."""
    wrong: int
    """Orders that were not done exactly once at the end."""

    def __str__(self) -> str:
        """Return everything in one line."""
        return (
            f"{self.orders:,} orders, {self.kills} workers killed, {self.orders / self.seconds:,.0f} orders a second, "
            f"{self.lost} lost without the outbox, {self.repeated} done again without once, {self.wrong} wrong"
        )


class Load:
    """One broker, its workers, and the orders that go through them."""

    def __init__(self, group: ProcessGroup, transport: str) -> None:
        """Start the broker; `add_worker` starts workers."""
        self.group, self.kills, self.workers = group, 0, list[WorkerProcess]()
        self.broker: Server = start_server(group, BROKER)
        self.client = self.broker.client()
        self.outbox = Outbox(self.client, "outbox", deadline=1.0)
        self.app = sender(settings(self.broker.url))
        # Redelivered after a second, with two checks a second, so that the kills do not leave all of it to the end.
        often = {"VISIBILITY_TIMEOUT": "1", "RESTORE_INTERVAL": "0.5", "RESTORE_LOCK": "1"}
        self._settings = worker_environment({"WORKER_POOL": "solo", "BROKER_TRANSPORT": transport, **often})
        self._names = itertools.count(1)

    def add_worker(self) -> None:
        """Start one more worker."""
        name = f"worker{next(self._names)}"
        self.workers.append(start_worker(self.group, self.broker.url, name, self._settings))

    def kill_one(self) -> None:
        """Kill the oldest worker, and start another in its place."""
        self.workers.pop(0).kill()
        self.kills += 1
        self.add_worker()

    def publish(self, orders: range) -> None:
        """Write down orders and send them, a hundred at a time."""
        for begin in range(0, len(orders), 100):
            numbers = [str(order) for order in orders[begin : begin + 100]]
            self.outbox.add((number, "worker.order", [number]) for number in numbers)
            send_many(self.app, "worker.order", [[number] for number in numbers])

    def idle(self) -> bool:
        """Tell whether no task waits and none is unacknowledged."""
        return not self.client.exists("celery", "unacked")

    def await_done(self, publishing: list[Future[None]], total: int, *, kills: bool) -> None:
        """Wait until all sent orders are done; kill a worker each second meanwhile if `kills`."""
        open_before, changed = -1, time.monotonic()
        while not (all(one.done() for one in publishing) and self.idle()):
            begun = time.monotonic()
            if kills:
                self.kill_one()
            if (still_open := self.outbox.open()) != open_before:
                open_before, changed = still_open, begun
            if begun > changed + PATIENCE:
                raise Failure(f"{still_open} orders do not get done:\n{self.workers[0].log_tail(10)}")
            if sys.stderr.isatty():
                print(f"\r\033[K{still_open:,} of {total:,} open", end="", file=sys.stderr, flush=True)
            time.sleep(max(0.0, begun + 1.0 - time.monotonic()))
        for one in publishing:
            one.result(PATIENCE)


def carried(transport: str, orders: int, publishers: int, workers: int) -> Carried:
    """Carry orders through a fresh broker, and return the counts."""
    with ProcessGroup("redis-practices-kills") as group, ExitStack() as ending:
        load = Load(group, transport)
        with ThreadPoolExecutor(workers) as starting:
            list(starting.map(lambda _: load.add_worker(), range(workers)))
        pool = ending.enter_context(ThreadPoolExecutor(publishers))
        begun = time.monotonic()
        publishing = [pool.submit(load.publish, range(mine, orders, publishers)) for mine in range(publishers)]
        load.await_done(publishing, orders, kills=True)
        seconds, lost, kills = time.monotonic() - begun, load.outbox.open(), load.kills
        while load.outbox.open():
            load.outbox.sweep(lambda task, arguments: send_many(load.app, task, [arguments]))
            load.await_done([], orders, kills=False)
        effects = load.client.hvals("orders")
        repeated = int(load.client.get("order-runs") or 0) - orders
        load.client.close()
        wrong = orders - sum(times == "1" for times in effects)
        return Carried(orders, kills, seconds, lost, repeated, wrong)


def main() -> None:
    """Carry the orders with both transports, and print the counts."""
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--orders", type=count, default=100_000, help="default: 100000, which takes minutes")
    parser.add_argument("--publishers", type=count, default=8, help="default: 8")
    parser.add_argument("--workers", type=count, default=4, help="default: 4")
    add_shapes(parser)
    options = parser.parse_args()
    os.environ.pop("KEY_PREFIX", None)  # the broker is private
    found = {}
    for name, transport in TRANSPORTS.items():
        found[name] = carried(transport, options.orders, options.publishers, options.workers)
        say(f"{name} transport: {found[name]}")
    if options.shape == "json":
        rows = {name: one._asdict() for name, one in found.items()}
        print(json.dumps({"benchmark": "celery kills", "machine": machine(), "rows": rows}))
    else:
        print(TABLE)
        for name, one in found.items():
            rate = f"{one.orders / one.seconds:,.0f}"
            print(f"| {name} | {rate} | {one.kills} | {one.lost} | {one.repeated} | {one.wrong} |")
        print()
        end(options.shape)
    if wrong := sum(one.wrong for one in found.values()):
        raise Failure(f"{wrong} orders were not done exactly once")


if __name__ == "__main__":
    run(main)
