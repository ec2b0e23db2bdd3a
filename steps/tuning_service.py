"""The sentences about servers whose work takes its time: shards side by side, and replicas that come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then

from embedded import CACHE
from fixtures.waiting import eventually
from steps.vocabulary import TYPES, bound, rows

if TYPE_CHECKING:
    from redis import Redis

    from embedded import Server
    from fixtures.deployments import Cluster, Node, Private
    from fixtures.measurements import Bound
    from steps.vocabulary import Duration

Table = Sequence[Sequence[str]]

ROUNDS = 3
"""How often each way to share the requests is tried."""


@given("a cluster of its own whose work can be made to take its time", target_fixture="cluster")
def have_slow_cluster(private: Private) -> Cluster:
    """Have three primaries that know DEBUG SLEEP: it keeps a server as busy as real work, and costs no processor."""
    return private.cluster(replicas=0, config={"enable-debug-command": "yes"})


def serve(node: Node, requests: int, seconds: float) -> None:
    """Have a node serve requests that take `seconds` each, one after the other."""
    with node.client() as client:
        for _ in range(requests):
            client.execute_command("DEBUG SLEEP", seconds)


def seconds_of(cluster: Cluster, requests: Sequence[int], each: float) -> float:
    """Return how long the primaries take for their shares of the requests, side by side."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(cluster.nodes)) as threads:
        served = [
            threads.submit(serve, node, count, each)
            for node, count in zip(cluster.nodes, requests, strict=True)
            if count
        ]
        for share in served:
            share.result()
    return time.monotonic() - begun


@then(parsers.cfparse("requests that take {each:Duration} are served so much faster than by one", extra_types=TYPES))
def check_shards(cluster: Cluster, each: Duration, datatable: Table, measure: Callable[..., None]) -> None:
    """Share 30 requests as the rows say and compare with one primary that serves them all.

    What else the machine does only adds to a time, so the shortest of three is taken, of ways that were tried in turn.
    """
    table = rows(datatable, ["SHARES", "TIMES FASTER"])
    shares = [[int(share) for share in row["SHARES"].split(" : ")] for row in table]
    ways = [[30, 0, 0], *([30 * share // sum(each_share) for share in each_share] for each_share in shares)]
    rounds = [[seconds_of(cluster, way, each.seconds()) for way in ways] for _ in range(ROUNDS)]
    alone, *shared = map(min, zip(*rounds, strict=True))
    for row, seconds in zip(table, shared, strict=True):
        seen = round(alone / seconds, 2)
        measure(f"shares {row['SHARES']}", unit="times", bound=bound(row["TIMES FASTER"]), seen=seen)


@then(
    parsers.cfparse("while one primary is busy for {busy:Duration} the others answer {bound:Bound}", extra_types=TYPES)
)
def check_isolation(cluster: Cluster, busy: Duration, bound: Bound, measure: Callable[..., None]) -> None:
    """Hold the slowest answer of each other primary against the bound, and require that the busy one kept its own."""
    clients = [node.client() for node in cluster.nodes]
    for client in clients:
        client.ping()
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(serve, cluster.nodes[0], 1, busy.seconds())
        time.sleep(0.05)  # the busy one has begun; the wait below shows that it had
        worst = 0.0
        for client in clients[1:]:
            for _ in range(20):
                asked = time.monotonic()
                client.ping()
                worst = max(worst, time.monotonic() - asked)
        clients[0].ping()
        waited = time.monotonic() - begun
        working.result()
    assert waited >= busy.seconds(), f"the busy primary answered after {waited:.2f} s: it was not busy"
    measure("a busy primary's own clients waited", unit="s", seen=round(waited, 3))
    measure("slowest answer of the others", unit="s", bound=bound, seen=round(worst, 4))


@then("a replica that was cut off while 5 MB were written comes back like this")
def check_backlog(private: Private, datatable: Table, measure: Callable[..., None]) -> None:
    """For each size of the backlog count the full copies that a replica's return took (``sync_full``)."""
    for row in rows(datatable, ["BACKLOG", "FULL COPIES"]):
        config = {**CACHE, "repl-diskless-sync": "no", "repl-diskless-sync-delay": "0"}
        primary = private.server({**config, "repl-backlog-size": row["BACKLOG"]})
        replica = private.server({**config, "replicaof": ["127.0.0.1", str(primary.port)]})
        seen = copies_after_a_cut(primary, replica)
        measure(f"full copies, backlog {row['BACKLOG']}", unit="", bound=bound(row["FULL COPIES"]), seen=seen)


def copies_after_a_cut(primary: Server, replica: Server) -> int:
    """Cut a replica off, write 5 MB, let it come back, and return how many full copies that took."""
    with primary.client() as client:
        eventually(lambda: client.info("replication").get("slave0", {}).get("state") == "online", within=20.0)
        before = client.info("stats")
        replica.pause()
        client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")
        for number in range(50):
            client.set(f"missed:{number}", "x" * 100_000)
        replica.resume()

        def returned() -> bool:
            """Say whether the replica has asked to go on, and has got an answer."""
            now = client.info("stats")
            return any(now[name] > before[name] for name in ("sync_full", "sync_partial_ok"))

        eventually(returned, within=20.0)
        return int(client.info("stats")["sync_full"]) - int(before["sync_full"])


@then("writing costs so much with these settings")
def report_persistence(private: Private, datatable: Table, measure: Callable[..., None]) -> None:
    """Report how the median time of 200 writes compares with that of the first row; it claims nothing."""
    first = None
    for row in rows(datatable, ["SETTINGS"]):
        settings = dict(setting.split(" ") for setting in row["SETTINGS"].split(", "))
        with private.server({**CACHE, **settings}).client() as client:
            times = [seconds_to_write(client) for _ in range(7)]
        median = sorted(times)[3]
        first = first or median
        measure(row["SETTINGS"], unit="times the first", seen=round(median / first, 2))


def seconds_to_write(client: Redis) -> float:
    """Return how long 200 single writes take, each of which waits for the disk if the setting says so."""
    begun = time.perf_counter()
    for index in range(200):
        client.set(f"persisted:{index}", "x" * 100)
    return time.perf_counter() - begun
