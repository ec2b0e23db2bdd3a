"""The sentences about what a task can be sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given as for_all
from hypothesis import settings as examples
from pytest_bdd import parsers, then

from fixtures.celery_worker.client import JSON, NOT_JSON, spelled
from redis_practices.celery_worker.sending import publish, publisher, value_of
from redis_practices.servers.server import BROKER
from steps.celery_worker.celery_tasks import send
from steps.common.vocabulary import TYPES
from worker import settings as worker_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.celery_worker.client import Sent
    from fixtures.stacks.protocols import Private


@then(parsers.cfparse("each of {number:Count} values of JSON comes back as it was sent", extra_types=TYPES))
def check_round_trip(sent: Sent, number: int, measure: Callable[..., None]) -> None:
    """Let Hypothesis look for a value that is another one after it went to a task and came back as its result."""
    longest = 0

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(JSON)
    def round_trip(value: object) -> None:
        """Send one value and compare what comes back."""
        nonlocal longest
        longest = max(longest, len(spelled(value)))
        send(sent, "echo", [value])
        seen = value_of(sent.results[-1], 10.0)
        assert spelled(seen) == spelled(value)

    round_trip()
    measure("longest value", unit="characters", seen=longest)


@then(
    parsers.cfparse(
        "each of {number:Count} values with something else inside is refused, and nothing is sent", extra_types=TYPES
    )
)
def check_unserialisable(private: Private, number: int) -> None:
    """Let Hypothesis look for a value unknown to JSON that is sent, or refused with an error that does not say why."""
    server = private.server(BROKER)
    app = publisher(worker_settings, server.url)

    @examples(max_examples=number, deadline=None, database=None)
    @for_all(NOT_JSON)
    def refuse(value: object) -> None:
        """Publish one value."""
        with pytest.raises(TypeError, match=r"worker\.echo cannot be sent: .*not JSON serializable"):
            publish(app, "worker.echo", [value])

    refuse()
    app.close()
    with server.client() as client:
        assert not client.exists("celery"), "something was sent"
