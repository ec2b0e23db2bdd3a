"""Measure the gain of each tuning practice on your own server: naive way against tuned way.

It uses --url and --cluster-url, else CACHE_URL and CLUSTER_URL, else servers on this machine, else embedded servers
that end with the command. It writes some hundred keys, and removes them at the end.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from redis_practices.cli import Failure, Parser, UsageError, run, say, seconds
from redis_practices.clients import checked_url, cluster_client, one_line_errors, redis_client
from redis_practices.servers.locate import Kind, deployment
from redis_practices.servers.server import EmbeddedError, server_binary
from redis_practices.svg import bars
from redis_practices.tuning.bulk import write_bulk
from redis_practices.tuning.catalogue import (
    EFFECTS,
    PAIRS,
    SETTINGS,
    Effect,
    Pair,
    Setting,
    counted_row,
    markdown,
    table,
    timed,
)
from redis_practices.tuning.connections import NoNamespaceError
from redis_practices.tuning.measuring import embedded_servers
from redis_practices.tuning.round_trips import write_together

EXAMPLES = """\
  python src/tuning_example.py
  python src/tuning_example.py --seconds 3 --only pipeline --plot tuning.svg      One comparison, and its picture.
  python src/tuning_example.py --url redis://:secret@cache.example:6379/0 --only MGET --json"""

KEYS = 1000

SECONDS = "about how long to time ways in turn (default: 10); what is seen once on own servers takes 15 more"


@contextmanager
def client_of(kind: Kind, url: str | None, timeout: float) -> Iterator[tuple[Any, list[str]]]:
    """Yield a client of the deployment, and keys with numbers on it, which are removed at the end."""
    prefix = f"practices:tuning:{secrets.token_hex(4)}:"
    keys = [f"{prefix}{index}" for index in range(KEYS)]
    with nullcontext(url) if url else deployment(kind) as found, one_line_errors(found, timeout):
        client: Any = (cluster_client if kind == "cluster" else redis_client)(found, timeout)
        with client:
            try:
                if kind == "cluster":
                    write_bulk(client, [(key, "1") for key in keys], ttl=600)
                else:
                    write_together(client, keys)
                    for key in keys:
                        client.set(key, "1", ex=600)
                yield client, keys
            finally:
                for key in keys:
                    client.unlink(key)


def on_deployments(pairs: Sequence[Pair], options: Any, budget: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair, and name on stderr the pair that is being measured."""
    urls = {"cache": options.url, "cluster": options.cluster_url}
    kinds: tuple[Kind, ...] = ("cache", "cluster")
    for kind in kinds:
        mine = [pair for pair in pairs if pair.needs == kind]
        if not mine:
            continue
        with client_of(kind, urls[kind], options.timeout) as (client, keys):
            for pair in mine:
                say(f"measuring {pair.name} …")
                some = keys[: pair.keys]
                with pair.naive(client) as naive, pair.tuned(client) as tuned:
                    seen = timed(partial(naive, some), partial(tuned, some), budget)
                yield {"practice": pair.name, **seen, "not_when": pair.not_when}


def on_own_servers(practices: Sequence[Setting | Effect], budget: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each setting and effect, each on fresh servers; none without a server program."""
    try:
        server_binary()
    except EmbeddedError as error:
        say(f"left out {len(practices)} practices that need fresh servers: {error}")
        return
    for practice in practices:
        say(f"measuring {practice.name}, on fresh servers …")
        with embedded_servers() as servers:
            if isinstance(practice, Setting):
                ways = practice.naive(servers), practice.tuned(servers)
                seen = timed(*ways, budget)
            else:
                try:
                    seen = counted_row(practice, servers)
                except NoNamespaceError as error:
                    say(f"left out: {error}")
                    continue
        yield {"practice": practice.name, **seen, "not_when": practice.not_when}


def machine() -> dict[str, Any]:
    """Return the facts to read a ratio with: processors, load, and versions."""
    return {"processors": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}


def main() -> None:
    """Measure the pairs that the command line selects."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--url", help="the server to measure (default: CACHE_URL, a local or an embedded one)")
    parser.add_argument("--cluster-url", help="a node of the cluster (default: CLUSTER_URL, a local or embedded one)")
    parser.add_argument("--seconds", type=seconds, default=10.0, help=SECONDS)
    parser.add_argument("--only", metavar="TEXT", default="", help="only practices whose name holds TEXT")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON instead of a table")
    shape.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the ratios into this SVG file")
    parser.add_timeout()
    options = parser.parse_args()
    for name in ("url", "cluster_url"):
        if given := getattr(options, name):
            checked_url(given, f"--{name.replace('_', '-')}")
    pairs = [pair for pair in PAIRS if options.only.lower() in pair.name.lower()]
    own = [practice for practice in (*SETTINGS, *EFFECTS) if options.only.lower() in practice.name.lower()]
    if not pairs and not own:
        names = "; ".join(practice.name for practice in (*PAIRS, *SETTINGS, *EFFECTS))
        raise UsageError(f"no practice is called {options.only!r}: there are {names}")
    budget = options.seconds / (len(pairs) + len(own))
    rows = [*on_deployments(pairs, options, budget), *on_own_servers(own, budget)]
    if options.json:
        json.dump({"machine": machine(), "results": rows}, sys.stdout, indent=2)
        print()
    else:
        print(markdown(rows) if options.markdown else table(rows))
        print(", ".join(f"{name} {value}" for name, value in machine().items()), file=sys.stderr)
    if options.plot:
        notes = ["" if row["verdict"] in {"pays", "costs"} else row["verdict"] for row in rows]
        ratios = [(row["practice"], row["ratio"], note) for row, note in zip(rows, notes, strict=True) if row["ratio"]]
        drawing = bars("times better than the naive way", ratios)
        try:
            options.plot.write_text(drawing)
        except OSError as error:
            raise Failure(f"{options.plot} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    run(main)
