"""The two sentences of tuning: they run the ways that their own rows name, and judge what these cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from pytest_bdd import then

from fixtures.bdd.vocabulary import NAMES, find, register
from fixtures.context import Context
from fixtures.redis_cluster.nodes import primaries
from redis_practices.tuning.measuring import compare_by, counted, reads_by_node
from steps.common.deployments import Values
from steps.common.vocabulary import Table, bound_or_reported, rows
from steps.tuning.ways import Costs, Opened, Way


@then("the comparison shows")
def check_comparison(context: Context, datatable: Table) -> None:
    """Run both ways of each row, and compare what TUNED gains over NAIVE.

    Ways run in turns, 5 ROUNDS after one to warm up. TIMES FASTER and TIMES LESS PROCESSOR TIME are medians of the
    ratios of neighbours, TIMES FASTER AT BEST is the ratio of the shortest times. TIMES LESS and TIMES MORE may name a
    cost of a way that measures itself. A bound, or ``reported``: that claims nothing, and spread and verdict are shown.

    Example: a table of NAIVE, TUNED and TIMES FASTER
    """
    gains = [column for column in datatable[0] if column.startswith("TIMES ")]
    for row in rows(datatable, ("NAIVE", "TUNED"), (*gains, "ROUNDS")):
        pair = f"{row['TUNED']} against {row['NAIVE']}"
        with context.part(Opened).ending:
            naive, tuned = (made(context, row[column]) for column in ("NAIVE", "TUNED"))
            if callable(naive):
                seen = run_in_turns(context, pair, naive, tuned, int(row.get("ROUNDS", 5)))
            else:
                seen = compare_costs(context, row, naive, tuned)
        for gain in gains:
            judge(context, f"{pair}: {gain.lower()}", gain, row[gain], seen[gain])


@then("each way cost")
def check_costs(context: Context, datatable: Table) -> None:
    """Run each way once, warmed up, and compare what it cost: a column a cost.

    An isolated server counts COMMANDS, SOCKET READS, NEW CONNECTIONS, KEY READS and BYTES SENT. The nodes of a cluster
    count KEY READS and their shares, the proxy of a round trip counts READS AT ONCE. Other ways measure themselves.
    A cell is a bound or ``reported``; a column that is only reported is a chart.

    Example: a table of WAY, COMMANDS and SOCKET READS
    """
    table = rows(datatable, ("WAY",), datatable[0][1:])
    costs: dict[str, Costs] = {}
    for row in table:
        with context.part(Opened).ending:
            way = made(context, row["WAY"])
            seen = costs[row["WAY"]] = count(context, way) if callable(way) else way
        shown = {} if callable(way) else dict.fromkeys(seen, "reported")
        for cost, text in {**shown, **row}.items():
            if cost != "WAY" and text:
                judge(context, f"{row['WAY']}: {cost.lower()}", cost, text, seen[cost])
    for column in datatable[0][1:]:
        if all(row[column] == "reported" for row in table):
            unit = find("measurement", column.lower())[0].unit
            points = [(way, seen[column]) for way, seen in costs.items()]
            context.chart(column.lower(), unit=unit, kind="bars", points=points)


def made(context: Context, name: str) -> Any:
    """Return a way that works on keys, or the costs of one that measured itself."""
    entry, words = find("way", name)
    return entry.functions[0](context, **words)


def judge(context: Context, name: str, cost: str, text: str, seen: Any) -> None:
    """Hold a cost or a gain against the text of its cell."""
    if isinstance(seen, float):
        seen = round(seen, 3)
    known = NAMES.get(("measurement", cost.lower()))
    unit = known.unit if known else SHOWN.get(cost, "")
    context.measure(name, unit=unit, bound=bound_or_reported(text, context), seen=seen)


def compare_costs(context: Context, row: Mapping[str, str], naive: Costs, tuned: Costs) -> dict[str, float]:
    """Show what both ways cost, and return every gain."""
    for cost in naive:
        judge(context, f"{row['NAIVE']}: {cost.lower()}", cost, "reported", naive[cost])
        judge(context, f"{row['TUNED']}: {cost.lower()}", cost, "reported", tuned[cost])
    return {
        **{f"TIMES LESS {cost}": naive[cost] / max(tuned[cost], 1e-3) for cost in naive},
        **{f"TIMES MORE {cost}": tuned[cost] / max(naive[cost], 1e-3) for cost in naive},
    }


def run_in_turns(context: Context, pair: str, naive: Way, tuned: Way, rounds: int) -> dict[str, float]:
    """Run both ways in turns and return every gain; both must give as many replies."""
    keys = context.part(Values).keys if Values in context.parts else []
    replies: dict[Way, object] = {}

    def run(way: Way) -> None:
        replies[way] = way(keys)

    opened = context.part(Opened)
    clocks = (time.perf_counter, lambda: time.thread_time() + opened.client_seconds)
    wall, client = compare_by(clocks, partial(run, naive), partial(run, tuned), rounds=rounds)
    numbers = {len(reply) for reply in replies.values() if isinstance(reply, list)}
    assert len(numbers) <= 1, f"{pair}: they give different numbers of replies: {numbers}"
    context.measure(f"{pair}: spread", unit="%", seen=round(wall.spread, 1))
    context.measure(f"{pair}: verdict", unit="", seen=wall.verdict)
    return {
        "TIMES FASTER": wall.ratio,
        "TIMES FASTER AT BEST": min(wall.naive) / min(wall.tuned),
        "TIMES LESS PROCESSOR TIME": client.ratio,
    }


def count(context: Context, way: Way) -> dict[str, float]:
    """Run a way on the values of the scenario and return what the servers counted."""
    values = context.part(Values)
    way(values.keys if values.far else values.keys[:2])
    if values.far:
        values.far.most_waiting = 0
        way(values.keys)
        return {"READS AT ONCE": values.far.most_waiting}
    if context.role == "cluster":
        before = reads_by_node(context.cluster.nodes)
        replies = way(values.keys)
        reads = {address: seen - before[address] for address, seen in reads_by_node(context.cluster.nodes).items()}
        total, heads = sum(reads.values()), {node.address for node in primaries(context.cluster)}
        assert isinstance(replies, list)
        return {
            "KEY READS": total,
            "CORRECT VALUES": sum(reply == values.value for reply in replies),
            "SHARE OF THE BUSIEST NODE": 100 * max(reads.values()) / total,
            "SHARE OF THE REPLICAS": 100 * sum(reads[address] for address in reads if address not in heads) / total,
        }
    with context.server.client() as observer, counted(observer) as cost:
        way(values.keys)
    return {
        "COMMANDS": cost.commands,
        "SOCKET READS": cost.reads,
        "NEW CONNECTIONS": cost.connections,
        "BYTES SENT": cost.sent,
        "KEY READS": cost.calls.get("get", 0) + cost.calls.get("mget", 0),
    }


SHOWN = {"HITS": "%", "MEMORY": "bytes", "TIME BLOCKED": "ms", "TIME UNTIL REPLACED": "s"}
"""The units of costs that no column judges."""

GAINS = {
    "times faster": "the time of the naive way, divided by that of the tuned one: the median of neighbours",
    "times faster at best": "the shortest time of the naive way, divided by that of the tuned one",
    "times less processor time": "the same of the processor time that the client takes",
    "times less memory": "the bytes that the naive way takes in the server, divided by those of the tuned one",
    "times less time blocked": "the time that others wait for the naive way, divided by that of the tuned one",
    "times more hits": "the hits of the tuned way, divided by those of the naive one",
}
COSTS = {
    "bytes sent": ("bytes", "bytes that the server sent to clients"),
    "clients connected": ("", "clients whose connection the system accepted within 0.3 s"),
    "clients listed": ("", "clients that the server still lists, though their network is cut"),
    "commands": ("", "commands that the server ran"),
    "correct values": ("", "replies that are the value of their key"),
    "failovers": ("", "primaries that a replica replaced"),
    "full copies": ("", "full copies that a replica asked for (sync_full)"),
    "key reads": ("", "calls of GET and MGET that reached a server"),
    "new connections": ("", "connections that the server accepted"),
    "objects freed in the background": ("", "objects that another thread freed (lazyfreed_objects)"),
    "p50": ("ms", "the time that half of the replies took at most"),
    "p99": ("ms", "the time that 99 % of the replies took at most"),
    "p99.9": ("ms", "the time that 99.9 % of the replies took at most"),
    "reads a second by raw bytes": ("a second", "reads of a client that costs nearly nothing"),
    "reads a second by redis-py": ("a second", "reads of redis-py's cluster pipeline"),
    "reads at once": ("", "the most reads that waited for their reply at the same time"),
    "replies of the slowest other shard": ("", "the fewest PINGs that another primary answered meanwhile"),
    "replies over 0.1 s": ("", "replies that came more than 0.1 s after their request was due"),
    "share of the busiest node": ("%", "key reads of the node with the most"),
    "share of the replicas": ("%", "key reads that replicas answered"),
    "socket reads": ("", "times that the server read from a socket"),
}
for one, meaning in GAINS.items():
    register("measurement", one, meaning, unit="times")(check_comparison)
for one, (unit_of_it, meaning) in COSTS.items():
    register("measurement", one, meaning, unit=unit_of_it, reported=True)(check_costs)
