"""The sentences about how long answers take, what the client's own work is, and who is the limit of a throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import parsers, then

from fixtures.run.keys import Unsupported
from fixtures.run.options import OPTIONS
from redis_practices.tuning import load, scaling
from redis_practices.tuning.connections import parse_compiled, parse_in_python, raw_answer
from redis_practices.tuning.failures import NoNamespaceError, vanished
from redis_practices.tuning.measuring import Comparison, compare
from steps.common.vocabulary import TYPES, assert_table, bound, rows

if TYPE_CHECKING:
    from fixtures.reporting.measurements import Bound
    from fixtures.stacks.protocols import Private
    from redis_practices.servers.server import Server
    from steps.common.vocabulary import Duration
    from steps.tuning.tuning import Site

Table = Sequence[Sequence[str]]
Measure = Callable[..., None]

LOOPS = {"closed": load.closed_loop, "open": load.open_loop}


@then(
    parsers.cfparse(
        "a hang of {hang:Duration} is seen like this by a second of {rate:Count} requests", extra_types=TYPES
    )
)
def check_loops(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and how
    server: Server, site: Site, hang: Duration, rate: int, datatable: Table, measure: Measure
) -> None:
    """Have the server hang in the middle and count, by each loop, the answers that took more than 0.1 s."""
    for row in rows(datatable, ["LOOP", "WAITED 0.1 SECONDS"]):

        def pause() -> None:
            """Let the server hang."""
            server.pause()
            time.sleep(hang.seconds())
            server.resume()

        hanging = Timer(0.3, pause)
        hanging.start()
        times = LOOPS[row["LOOP"]](site.client, site.keys, rate, 1.0)
        hanging.join()
        name = f"{row['LOOP']} loop"
        measure(f"{name}: 99 % took at most", unit="ms", seen=round(1000 * load.percentile(times, 99), 2))
        slow = sum(seconds > 0.1 for seconds in times)  # noqa: PLR2004 - the table's header has it
        measure(f"{name}: waited 0.1 s", unit="requests", bound=bound(row["WAITED 0.1 SECONDS"]), seen=slow)


@then("slices that took so many milliseconds are judged like this")
def check_verdicts(datatable: Table) -> None:
    """Hold the verdict about given slices against the table."""
    seen = []
    for row in rows(datatable, ["NAIVE", "TUNED", "VERDICT"]):
        naive, tuned = (tuple(float(part) / 1000 for part in row[name].split()) for name in ("NAIVE", "TUNED"))
        seen.append({**row, "VERDICT": Comparison(naive, tuned).verdict})
    assert_table(datatable, seen)


@then("a client that vanishes is listed like this after a while")
def check_vanished(pytestconfig: pytest.Config, datatable: Table, measure: Measure) -> None:
    """Cut a client off from a server without and one with keepalive, and count whom they still list."""
    options = pytestconfig.stash[OPTIONS]
    if options.stack != "embedded":
        raise Unsupported(f"{options.stack}: a network that is turned off must be the server's own")
    try:
        seen = vanished(options.server_binary)
    except NoNamespaceError as error:
        raise Unsupported(str(error)) from None
    for row, count in zip(rows(datatable, ["KEEPALIVE", "CLIENTS"]), seen, strict=True):
        measure(f"clients, keepalive {row['KEEPALIVE']}", unit="", bound=bound(row["CLIENTS"]), seen=int(count))


@then("answers take so long by load")
def show_latency(site: Site, datatable: Table, measure: Measure, chart: Callable[..., None]) -> None:
    """Show percentiles of an open loop at shares of what a loop of single reads reaches; it claims nothing."""
    begun = time.perf_counter()
    for key in site.keys:
        site.client.get(key)
    most = len(site.keys) / (time.perf_counter() - begun)
    shares = [int(row["% OF A LOOP"]) for row in rows(datatable, ["% OF A LOOP"])]
    seen = load.by_load(site.client, site.keys, [most * share / 100 for share in shares], 0.25)
    for percentile in [name for name in seen[0] if name != "rate"]:
        points: list[Any] = [(round(row["rate"]), row[percentile]) for row in seen]
        chart(f"{percentile} by requests a second", unit="ms", kind="line", points=points)
        measure(f"{percentile} at {shares[-1]} % of a loop", unit="ms", seen=seen[-1][percentile])


@then(
    parsers.cfparse(
        "hiredis reads an answer of {items:Count} items in {bound:Bound} times less processor time", extra_types=TYPES
    )
)
def check_parser(server: Server, items: int, bound: Bound, measure: Measure) -> None:
    """Parse the very bytes of a server's answer both ways, and compare the processor time of this thread."""
    with server.client() as client:
        client.rpush("list", *["x" * 100] * items)
        answer = raw_answer(client, "LRANGE", "list", "0", "-1")
    naive, tuned = partial(parse_in_python, answer), partial(parse_compiled, answer)
    assert naive() == tuned() == ["x" * 100] * items, "they read different things"
    seen = compare(naive, tuned, rounds=15, clock=time.thread_time)
    measure(f"hiredis: spread of {len(seen.naive)} rounds", unit="%", seen=round(seen.spread, 1))
    measure("hiredis against Python", unit="times", bound=bound, seen=round(seen.ratio, 1))


@then("this is what so many primaries serve")
def show_scale(private: Private, datatable: Table, measure: Measure, chart: Callable[..., None]) -> None:
    """Show operations a second, processor time for each, and who was the limit; it claims nothing."""
    numbers = [int(row["PRIMARIES"]) for row in rows(datatable, ["PRIMARIES"])]
    seen = {number: scaling.reads_of(private, number) for number in numbers}
    for kind in scaling.CLIENTS:
        for number in numbers:
            measure(f"{number} primaries, {kind}", unit="", seen=str(seen[number][kind]))
        points = [(f"{number} primaries", round(seen[number][kind].rate)) for number in numbers]
        chart(f"reads a second, {kind}", unit="a second", kind="bars", points=points)
