"""Send tasks within a time limit, many at once, and wait for results.

Celery by itself tries for 19 s when Redis is down, and for ever when it is paused. A web request that sends a task
cannot wait for that: `publish` raises in time, and the request shows an error or puts the task into an `Outbox`.

    PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 4 8

`send_many` sends a batch: ``apply_async`` costs 0.5 ms of processor time a task, most of it for options that a batch
does not have. `value_of` waits for a result and misses none.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.exceptions import TimeoutError as NoAnswerError
from celery.result import AsyncResult
from kombu.exceptions import EncodeError, OperationalError
from redis.exceptions import RedisError

from redis_practices.celery_worker.queue_age import stamp_message
from redis_practices.cli import Failure, Parser, run
from redis_practices.clients import TIMEOUT, explained, is_cluster_node, one_line_errors, redis_client, shown
from redis_practices.servers.locate import deployment

POOL_TIMEOUT = 30.0
"""Seconds until a thread that gets no connection from the pool gives up (``kombu.exceptions.LimitExceeded``)."""

BATCH = 100
"""Tasks a round trip. What is refused in the middle of one may have been taken in part."""


def send_many(
    app: Celery, task: str, calls: Iterable[Sequence[Any]], *, queue: str | None = None, store_results: bool = False
) -> list[str]:
    """Send `task` once for each of `calls`, its arguments, and return the ids; for results ask ``app.AsyncResult(id)``.

    The tasks go to `queue`, or the default one: routes and priorities are not looked at. Without `store_results` what
    they return is dropped.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached; nothing was sent.
        kombu.exceptions.BatchPublishError: it refused a batch; those before it were sent, that one perhaps in part.
    """
    ids = []
    with app.producer_pool.acquire(block=True, timeout=POOL_TIMEOUT) as producer, producer.batch(max_size=BATCH):
        for arguments in calls:
            ids.append(str(uuid4()))
            message = app.amqp.as_task_v2(ids[-1], task, arguments, {}, ignore_result=not store_results)
            stamp_message(message.headers)
            producer.publish(
                message.body,
                exchange="",
                routing_key=queue or app.conf.task_default_queue,
                serializer=app.conf.task_serializer,
                headers=message.headers,
                **message.properties,
            )
    return ids


EXAMPLES = """\
  PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 4 8
  PYTHONPATH=src python -m redis_practices.celery_worker.sending worker.add 20.5 21.5 --timeout 2"""


def sender(settings: Mapping[str, Any]) -> Celery:
    """Return a Celery app that only sends: tasks go by name, so a sender needs no worker code.

    `settings` are those of the worker, such as ``worker.settings(broker_url, timeout)``.
    """
    app = Celery("sender", set_as_current=False)
    app.conf.update(settings)
    return app


def check_broker(url: str, timeout: float = TIMEOUT) -> None:
    """Return if the server at `url` can carry tasks: it answers, and is no cluster node.

    Celery itself retries for a long time before it says that a broker is down, so a command asks first.

    Raises:
        Failure: it does not answer, refuses the user, or is a cluster node.
    """
    with one_line_errors(url, timeout), redis_client(url, timeout) as broker:
        broker.ping()
        if is_cluster_node(broker):
            raise Failure(f"{shown(url)} is a cluster node, and Celery does not run on a Redis Cluster: use one server")


def publisher(settings: Callable[[str, float], Mapping[str, Any]], broker_url: str, timeout: float = TIMEOUT) -> Celery:
    """Return a Celery app that sends and gives up on a broker that does not answer after `timeout` seconds.

    `settings` makes the settings of the worker for a broker's URL and a time-out, as ``worker.settings`` does.
    """
    # Celery subscribes to the result first, and tries that twice whatever it is told.
    once = timeout / 2
    app = sender(settings(broker_url, once))
    app.conf.broker_transport_options["max_retries"] = 0
    app.conf.result_backend_transport_options["retry_policy"] = {"timeout": once, "max_retries": 0}
    return app


def publish(app: Celery, task: str, arguments: Sequence[Any] = (), **options: Any) -> str:
    """Send `task` through an app of `publisher` and return its id; `options` as Celery's ``apply_async`` names them.

    Raises:
        Failure: the broker did not take it, in one line; after a time-out it may have, so give the task an id of your
            own (``task_id=``) and make it bear a second run.
        TypeError: an argument is not JSON.
    """
    broker_url = app.conf.broker_url
    try:
        return str(app.send_task(task, arguments, retry=False, **options).id)
    except EncodeError as error:
        raise TypeError(f"{task} cannot be sent: {error}") from None
    except (OperationalError, RuntimeError, RedisError) as error:
        timeout = app.conf.broker_transport_options["socket_timeout"]
        raise Failure(explained(_cause(error), shown(broker_url), timeout)) from error


def _cause(error: BaseException) -> Exception:
    """Return the error of redis-py behind what Celery and kombu made of it, which may take a page to say it."""
    while not isinstance(error, RedisError) and (behind := error.__cause__ or error.__context__):
        error = behind
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def argument(text: str) -> Any:
    """Return an argument that is written as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON; write a text as '\"text\"'") from None


def main() -> None:
    """Send the task of the command line."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("task", metavar="TASK", help="its name")
    parser.add_argument("arguments", type=argument, nargs="*", metavar="JSON", help="its arguments")
    parser.add_timeout()
    options = parser.parse_args()
    from worker import settings  # noqa: PLC0415 - the command alone sends with the settings of the worker beside it

    with deployment("broker") as url:
        print(publish(publisher(settings, url, options.timeout), options.task, options.arguments))


LOOK_EVERY = 5.0
"""Seconds after which the stored result is looked at again; that is two GETs."""


def value_of(result: AsyncResult, within: float) -> Any:
    """Return what a task returned, once it has; wait `within` seconds at most.

    ``AsyncResult.get`` looks once and then waits for a message. Of a few thousand results one was there, on a busy
    machine, and who waited was never told (celery 5.6.3, redis-py 8.1; celery#4039): so look again now and then.

    Raises:
        celery.exceptions.TimeoutError: there is none in time.
        Exception: the task failed; it is its own error.
    """
    deadline = time.monotonic() + within
    while not result.ready():
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError(f"no result within {within:g} s")
        try:
            return result.get(timeout=min(LOOK_EVERY, left))
        except NoAnswerError:
            continue
    return result.get(timeout=LOOK_EVERY)


if __name__ == "__main__":
    run(main)
