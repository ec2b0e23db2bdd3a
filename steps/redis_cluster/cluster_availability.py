"""The sentences about nodes of a cluster that fail, and the cluster that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from parse import with_pattern
from pytest_bdd import parsers, then, when
from redis.exceptions import RedisError

from fixtures.redis_cluster.faults import FATES, Cast
from fixtures.redis_cluster.nodes import owner_of
from fixtures.reporting.measurements import Bound
from redis_practices.polling import seconds_until
from redis_practices.redis_cluster.failover import fail_over
from redis_practices.redis_cluster.topology import ClusterError
from steps.common.vocabulary import TYPES as COMMON
from steps.common.vocabulary import Duration
from steps.redis_cluster.cluster_answers import compare_answers


@with_pattern("|".join(FATES))
def fate(text: str) -> str:
    """Read what becomes of a node."""
    return text


@with_pattern("primary|replica")
def role(text: str) -> str:
    """Read which of the nodes of a key is meant."""
    return text


TYPES: dict[str, Any] = {**COMMON, "Fate": fate, "Role": role}


@when(parsers.cfparse('the {role:Role} of "{key}" {fate:Fate}', extra_types=TYPES))
def meet_fate(cast: Cast, key_prefix: str, role: str, key: str, fate: str) -> None:
    """Let the primary or the first replica of a key meet a fate."""
    cast.meet(cast.name(role, key_prefix + key), fate)


@when(parsers.cfparse("that {role:Role} {fate:Fate}", extra_types=TYPES))
def meet_next_fate(cast: Cast, role: str, fate: str) -> None:
    """Let the node that was named before meet its next fate, whatever role it has now."""
    cast.meet(cast.named[role], fate)


@then(parsers.cfparse('a write to "{key}" is accepted again within {limit:Duration}', extra_types=TYPES))
def write_again(cast: Cast, key_prefix: str, key: str, limit: Duration, measure: Callable[..., None]) -> None:
    """Measure the time from the last fate until somebody accepts a write."""
    bound = Bound.at_most(limit.seconds(cast.cluster.node_timeout))
    seen = cast.seconds_until_written(key_prefix + key, give_up=3 * limit.seconds(cast.cluster.node_timeout))
    measure("writes accepted again", unit="s", bound=bound, seen=round(seen, 3))


@then(parsers.cfparse('no write to "{key}" is accepted for {limit:Duration}', extra_types=TYPES))
def never_write(cast: Cast, key_prefix: str, key: str, limit: Duration) -> None:
    """Try for a time, and require that nobody accepts a write."""
    with pytest.raises(AssertionError, match="nobody accepts the write"):
        cast.seconds_until_written(key_prefix + key, give_up=limit.seconds(cast.cluster.node_timeout))


@then(parsers.cfparse('that {role:Role} follows the owner of "{key}" within {limit:Duration}', extra_types=TYPES))
def check_follower(  # noqa: PLR0913, PLR0917 - pytest-bdd hands fixtures and placeholders over one by one
    cast: Cast, key_prefix: str, role: str, key: str, limit: Duration, measure: Callable[..., None]
) -> None:
    """Measure the time from the last fate until a node is a linked replica of the owner of a key."""
    node = cast.named[role]

    def follows() -> None:
        """Ask the node whom it follows."""
        with node.client(socket_timeout=1.0) as client:
            said = client.info("replication")
        upstream = f"{said.get('master_host')}:{said.get('master_port')} {said.get('master_link_status')}"
        expected = f"{owner_of(cast.cluster, key_prefix + key).address} up"
        assert upstream == expected, f"{node.address} is {said['role']} of {upstream}, not of {expected}"

    most = limit.seconds(cast.cluster.node_timeout)
    seen = seconds_until(follows, give_up=3 * most, since=cast.since, also=(RedisError,))
    measure(f"that {role} follows the owner", unit="s", bound=Bound.at_most(most), seen=round(seen, 3))


@then(parsers.cfparse("that {role:Role} answers", extra_types=TYPES))
def ask_node(cast: Cast, key_prefix: str, role: str, datatable: Sequence[Sequence[str]]) -> None:
    """Ask the node that was named before."""
    compare_answers(cast.named[role], key_prefix, datatable)


@when(parsers.cfparse('the replica of "{key}" takes over as planned'))
def take_over(cast: Cast, key_prefix: str, key: str) -> None:
    """Fail over on purpose."""
    cast.name("primary", key_prefix + key)
    with cast.name("replica", key_prefix + key).client() as client:
        fail_over(client)


@then(parsers.cfparse('a planned failover to the primary of "{key}" is refused with "{reason}"'))
def refuse_primary(cast: Cast, key_prefix: str, key: str, reason: str) -> None:
    """Try to make a primary what it is."""
    cast.name("primary", key_prefix + key)
    refuse_failover(cast, "primary", reason)


@then(parsers.cfparse('a planned failover to that {role:Role} is refused with "{reason}"', extra_types=TYPES))
def refuse_failover(cast: Cast, role: str, reason: str) -> None:
    """Try a failover that cannot be."""
    with cast.named[role].client() as client, pytest.raises(ClusterError, match=reason):
        fail_over(client, timeout=1.0)
