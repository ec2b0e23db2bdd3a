"""The sentences about nodes, slot map, readiness and hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from pytest_bdd import given, parsers, then, when
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.redis_cluster.faults import UNREADY, Cast
from fixtures.redis_cluster.nodes import SOURCES, clients_of, differences, node_at, primaries, replicas_of, slot_map
from fixtures.reporting.measurements import Bound
from fixtures.run.keys import Unsupported
from fixtures.stacks.protocols import Cluster, Node, Private, Stack
from redis_practices.polling import eventually
from redis_practices.redis_cluster.failover import why_not_failover_ready
from redis_practices.redis_cluster.topology import beside_their_primary, members, setting_differences, user_differences
from redis_practices.server_info import Refused, version_of
from steps.common.vocabulary import TYPES, Duration, rows


@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries with {replicas:Count} replica each", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries with {replicas:Count} replicas each", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries with {replicas:Count} replica each, node timeout {timeout:Duration}",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
@given(
    parsers.cfparse("a cluster of {primaries:Count} primaries without replicas", extra_types=TYPES),
    target_fixture="cluster",
)
@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries without replicas, node timeout {timeout:Duration}",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
def have_own_cluster(private: Private, primaries: int, replicas: int = 0, timeout: Duration | None = None) -> Cluster:
    """Have a cluster for this scenario alone; what follows speaks of it."""
    return private.cluster(primaries, replicas, node_timeout_ms=round(timeout.seconds() * 1000) if timeout else None)


@given(
    parsers.cfparse(
        "a cluster of {primaries:Count} primaries with {replicas:Count} replica each and these settings",
        extra_types=TYPES,
    ),
    target_fixture="cluster",
)
def have_configured_cluster(
    private: Private, stack: Stack, primaries: int, replicas: int, datatable: Sequence[Sequence[str]]
) -> Cluster:
    """Have a cluster with settings of its own, if the engine knows them."""
    settings = {row["SETTING"]: row["VALUE"] for row in rows(datatable, ("SETTING", "VALUE"))}
    with stack.cluster().nodes[0].client() as client:
        unknown = [name for name in settings if not client.config_get(name)]
    if unknown:
        raise Unsupported(f"needs a server that has the setting {', '.join(unknown)}")
    return private.cluster(primaries, replicas, config=settings)


@given(parsers.parse("nodes as of Redis {version}"))
def have_version(stack: Stack, version: str) -> None:
    """Look at the version that a node claims to be compatible with, for what it cannot be asked."""
    with stack.cluster().nodes[0].client() as client:
        claimed = version_of(f"redis {client.info('server')['redis_version']}")
    if claimed < version_of(f"redis {version}"):
        raise Unsupported(f"needs Redis {version} or Valkey")


@then("every node says of the cluster")
def check_cluster_info(cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Hold the fields of CLUSTER INFO of every node against the table."""
    expected = {row["FIELD"]: row["VALUE"] for row in rows(datatable, ("FIELD", "VALUE"))}
    for node in cluster.nodes:
        with node.client() as client:
            said = client.execute_command("CLUSTER INFO")
        seen = {field: said.get(field) for field in expected}
        assert seen == expected, f"{node.address} says {seen}"


@then(parsers.cfparse("the map of every node gives {slots:Bound} slots exactly one primary each", extra_types=TYPES))
def check_coverage(cluster: Cluster, slots: Bound, measure: Callable[..., None]) -> None:
    """Count the slots with one primary in the map of each node, and measure the least."""
    well = []
    for node in cluster.nodes:
        with node.client() as client:
            well.append(sum(len(owners) == 1 for owners in slot_map(client, "CLUSTER NODES")))
    measure("slots with one primary, on the node that knows fewest", unit="slots", bound=slots, seen=min(well))


@then("all nodes give the same map")
def compare_maps(cluster: Cluster, datatable: Sequence[Sequence[str]]) -> None:
    """Require one map from all nodes and all commands of the table."""
    commands = [row["COMMAND"] for row in rows(datatable, ("COMMAND",))]
    assert {*commands} <= {*SOURCES}, f"known commands are {', '.join(SOURCES)}"
    first = None
    for node in cluster.nodes:
        with node.client() as client:
            for command in commands:
                seen = slot_map(client, command)
                first = first or seen
                assert seen == first, f"{node.address}, {command}: {differences(first, seen)}"


@then("each address that a node announces answers, as the node it is announced for")
def check_announced(cluster: Cluster) -> None:
    """Connect to every address that any node announces, and ask who is there."""
    for address, identity in _announced(cluster).items():
        try:
            with node_at(cluster, address).client() as client:
                seen = client.execute_command("CLUSTER MYID")
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise AssertionError(f"{address} is announced and does not answer from here: {error}") from error
        assert seen == identity, f"{address} is announced as {identity}, but {seen} answers there"


def _announced(cluster: Cluster) -> dict[str, str]:
    """Return every address that any node announces, with the id of the node it is announced for."""
    found = {}
    for node in cluster.nodes:
        # A node that cannot be asked is among those that the others announce.
        with suppress(RedisConnectionError, RedisTimeoutError), node.client() as client:
            found.update({member.address: identity for identity, member in members(client, "SLOTS").items()})
    assert found, "no node answers"
    return found


def _reasons(cluster: Cluster) -> list[str]:
    """Ask all nodes."""
    with clients_of(cluster.nodes, socket_timeout=0.5) as clients:
        return why_not_failover_ready(clients)


@then(parsers.cfparse("within {limit:Duration} nothing stands in the way of a failover", extra_types=TYPES))
def check_ready(cluster: Cluster, limit: Duration) -> None:
    """Require that no reason is left."""

    def ready() -> None:
        """Look for reasons."""
        assert not (reasons := _reasons(cluster)), "; ".join(reasons)

    eventually(ready, within=limit.seconds())


@when(parsers.cfparse('this becomes true of the replica of "{key}": {defect}'))
def spoil(cast: Cast, key_prefix: str, key: str, defect: str) -> None:
    """Do to a healthy cluster what it is not ready for."""
    assert defect in UNREADY, f"known are {', '.join(UNREADY)}"
    cast.name("replica", key_prefix + key)
    UNREADY[defect](cast)


@then(parsers.cfparse('within {limit:Duration} "{reason}" is named as what stands in the way', extra_types=TYPES))
def name_reason(cluster: Cluster, limit: Duration, reason: str) -> None:
    """Require a reason that says so."""

    def named() -> None:
        """Look for the reason."""
        reasons = _reasons(cluster)
        assert any(reason in said for said in reasons), f"the reasons are: {'; '.join(reasons) or 'none'}"

    eventually(named, within=limit.seconds())


@then("the nodes that answer say that the cluster is well")
def check_state(cast: Cast) -> None:
    """Require cluster_state:ok of everyone."""
    with clients_of(cast.present()) as clients:
        states = {client.execute_command("CLUSTER INFO")["cluster_state"] for client in clients}
    assert states == {"ok"}, f"they say {states}"


@contextmanager
def by_address(cluster: Cluster) -> Iterator[dict[str, Redis]]:
    """Give a client of each node by the node's address; a question that is refused is the reason of a skip."""
    with ExitStack() as stack:
        try:
            yield {node.address: stack.enter_context(node.client()) for node in cluster.nodes}
        except Refused as refusal:
            raise Unsupported(f"needs to know: {refusal}") from None


@then("no setting of the nodes differs")
def compare_settings(cluster: Cluster) -> None:
    """Compare the settings of all nodes."""
    with by_address(cluster) as clients:
        assert not (lines := setting_differences(clients)), "; ".join(lines)


@then("no user of the nodes differs")
def compare_users(cluster: Cluster) -> None:
    """Compare the users of all nodes."""
    with by_address(cluster) as clients:
        assert not (lines := user_differences(clients)), "; ".join(lines)


@when(
    parsers.cfparse('"{setting}" is set to "{value}" at a replica of "{key}" alone'),
    target_fixture="changed_node",
)
def change_setting(cast: Cast, key_prefix: str, setting: str, value: str, key: str) -> Node:
    """Reconfigure one node, until the scenario ends."""
    node = replicas_of(cast.cluster, key_prefix + key)[0]
    cast.configure(node, setting, value)
    return node


@when(parsers.cfparse('the user "{user}" is made at a replica of "{key}" alone'), target_fixture="changed_node")
def make_user(cast: Cast, key_prefix: str, user: str, key: str) -> Node:
    """Make a user who may do nothing at one node, until the scenario ends."""
    node = replicas_of(cast.cluster, key_prefix + key)[0]
    with node.client() as client:
        if user in client.execute_command("ACL USERS"):
            raise Unsupported(f"a user {user} is there already, and is not ours to change")
        client.execute_command("ACL SETUSER", user)
    cast.undo(node, "ACL", "DELUSER", user)
    return node


@then(parsers.cfparse('"{what}" is named as different at that node, and nothing else'))
def name_difference(cluster: Cluster, changed_node: Node, what: str) -> None:
    """Require that comparing all nodes finds the one change."""
    with by_address(cluster) as clients:
        lines = setting_differences(clients) + user_differences(clients)
    assert len(lines) == 1, f"named are: {lines}"
    assert lines[0].startswith(f"{what} is "), lines[0]
    assert changed_node.address in lines[0], lines[0]


@then("no replica is on the host of its primary")
def check_hosts(cluster: Cluster) -> None:
    """Compare the hosts of primaries and replicas, where there is more than one host."""
    with cluster.nodes[0].client() as client:
        known = {member.host for member in members(client).values()}
        together = beside_their_primary(client)
    if len(known) == 1:
        raise Unsupported(f"all nodes are on one host, {known.pop()}: a replica has no other to be on")
    assert not together, "; ".join(
        f"{replica} is on {host}, with its primary {first}" for first, replica, host in together
    )


@given(parsers.cfparse('its primaries announce the host "{first}" and its replicas the host "{second}"'))
def announce_hosts(cast: Cast, first: str, second: str) -> None:
    """Let all nodes name a host, until the scenario ends: on one machine, names stand for machines."""
    own = primaries(cast.cluster)
    for node in cast.cluster.nodes:
        cast.configure(node, "cluster-announce-hostname", first if node in own else second)


@when(parsers.cfparse('a replica of "{key}" announces the host "{host}"'), target_fixture="changed_node")
def announce_host(cast: Cast, key_prefix: str, key: str, host: str) -> Node:
    """Let one node name another host."""
    return change_setting(cast, key_prefix, "cluster-announce-hostname", host, key)


@then(parsers.cfparse("within {limit:Duration} no replica is on the host of its primary", extra_types=TYPES))
def await_hosts(cluster: Cluster, limit: Duration) -> None:
    """Wait until every node has heard of every host, and compare."""

    def compare() -> None:
        """Compare the hosts as each node knows them now."""
        with by_address(cluster) as clients:
            for client in clients.values():
                assert len({member.host for member in members(client).values()}) > 1, "not every host is known yet"
                assert not (together := beside_their_primary(client)), together

    eventually(compare, within=limit.seconds())


@then(
    parsers.cfparse(
        "within {limit:Duration} it is named as being on the host of its primary, and no other", extra_types=TYPES
    )
)
def name_host(cluster: Cluster, changed_node: Node, limit: Duration) -> None:
    """Wait until every node names the one replica."""

    def compare() -> None:
        """Ask each node now."""
        with by_address(cluster) as clients:
            for address, client in clients.items():
                named = [replica for _, replica, _ in beside_their_primary(client)]
                assert named == [changed_node.address], f"{address} names {named}"

    eventually(compare, within=limit.seconds())
