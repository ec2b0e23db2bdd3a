"""Send a command from a Celery worker or a beat, for tests of the command guard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, Task, shared_task
from celery.signals import beat_init
from redis import Redis

from redis_practices.clients import redis_client


def channel_of(app: Celery) -> Any:
    """Return a channel of the broker."""
    return app.connection_for_write().default_channel


CLIENTS: dict[str, Callable[[Celery], Redis]] = {
    "the result backend": lambda app: app.backend.client,
    "the broker": lambda app: channel_of(app).client,
    "the broker's event loop": lambda app: Redis.from_pool(channel_of(app).async_pool),
    "a task's own client": lambda app: redis_client(app.conf.broker_url),
}
"""The clients of a Celery process."""


def send(app: Celery, client: str, words: list[str], times: int = 1) -> tuple[str, float]:
    """Send a command several times; return the last answer as text, and the seconds."""
    through = CLIENTS[client](app)
    through.ping()
    begun = time.monotonic()
    for _ in range(times):
        answer: Any = through.execute_command(*words)
    return answer.decode() if isinstance(answer, bytes) else str(answer), time.monotonic() - begun


@shared_task(bind=True, name="test.send_command")
def send_command(self: Task, client: str, words: list[str], times: int) -> tuple[str, float]:
    """Send a command from a worker."""
    return send(self.app, client, words, times)


@beat_init.connect
def send_from_beat(sender: Any, **_: object) -> None:
    """Send the command in SENT_BY_BEAT from a beat, and write its result to a file."""
    words, file = os.environ["SENT_BY_BEAT"].split(), Path(os.environ["SEEN_BY_BEAT"])
    try:
        seen = str(send(sender.app, "the broker", words, 40))
    except Exception as error:  # noqa: BLE001 - what it is, is the answer
        seen = repr(error)
    file.with_suffix(".new").write_text(seen, encoding="utf-8")
    file.with_suffix(".new").rename(file)
