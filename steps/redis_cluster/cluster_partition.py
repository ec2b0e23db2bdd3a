"""The sentences about a network that parts the nodes of a cluster."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from fixtures.proxies.cluster_bus import BusProxy
from fixtures.redis_cluster.faults import Cast
from fixtures.redis_cluster.nodes import answers, commands, in_words
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from redis_practices.polling import seconds_until
from steps.common.vocabulary import Duration
from steps.redis_cluster.cluster_availability import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from fixtures.stacks.protocols import Cluster


@given("a network between its nodes that can be parted", target_fixture="bus")
def have_network(cluster: Cluster, request: pytest.FixtureRequest) -> BusProxy:
    """Lead what nodes say to each other through a proxy."""
    if not hasattr(cluster.nodes[0], "pid"):
        raise Unsupported("needs nodes that reach a proxy of this process: the embedded stack's")
    with ExitStack() as stack:
        bus = BusProxy([stack.enter_context(node.client()) for node in cluster.nodes])
    request.addfinalizer(bus.close)
    return bus


@when(parsers.cfparse('the primary of "{key}" is parted from all other nodes'))
def part_primary(cast: Cast, bus: BusProxy, key_prefix: str, key: str) -> None:
    """Cut every connection of the bus between the primary and the rest."""
    cast.grow_up()
    cast.parted.append(cast.name("primary", key_prefix + key))
    with cast.named["primary"].client() as client:
        bus.part([client])
    cast.since = time.monotonic()


@when("the network is whole again")
def heal_network(cast: Cast, bus: BusProxy) -> None:
    """Let all nodes talk again."""
    bus.heal()
    cast.parted.clear()
    cast.since = time.monotonic()


@then(parsers.cfparse('that {role:Role} answers "{command}" with {code:w} within {limit:Duration}', extra_types=TYPES))
def await_answer(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cast: Cast, key_prefix: str, role: str, command: str, code: str, limit: Duration, measure: Callable[..., None]
) -> None:
    """Measure the time from the last event until a node gives an answer."""
    most = limit.seconds(cast.cluster.node_timeout)
    with cast.named[role].client() as client:

        def given() -> None:
            """Ask."""
            seen = in_words(answers(client, list(commands(command, key_prefix)))[-1])
            assert seen == code, f"{cast.named[role].address} answers {seen}"

        seconds = seconds_until(given, give_up=3 * most, since=cast.since)
    measure(f"{command} is answered with {code}", unit="s", bound=Bound.at_most(most), seen=round(seconds, 3))
