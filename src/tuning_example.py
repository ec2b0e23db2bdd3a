"""Measure what each tuning practice buys on your own server: the naive way against the tuned one, slice by slice.

Uses --url and --cluster-url, else CACHE_URL and CLUSTER_URL, else what answers on this machine, else embedded servers
started for the length of the command. It writes some hundred keys of its own and removes them in the end.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from command_line import Failure, Parser, UsageError, run, say, seconds
from connection import checked_url, cluster_client, one_line_errors, redis_client
from deployment import Kind, deployment
from tuning.bulk import write_bulk
from tuning.compare import compare
from tuning.many_keys import write_together
from tuning.pairs import PAIRS, Pair
from tuning.plot import bars

EXAMPLES = """\
  python src/tuning_example.py
  python src/tuning_example.py --seconds 3 --only pipeline --plot tuning.svg
  python src/tuning_example.py --url redis://:secret@cache.example:6379/0 --only MGET --json"""

KEYS = 300


@contextmanager
def client_of(kind: Kind, url: str | None, timeout: float) -> Iterator[tuple[Any, list[str]]]:
    """Yield a client of the deployment and keys that hold numbers on it, which are removed in the end."""
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


def measured(pair: Pair, client: Any, keys: Sequence[str], budget: float) -> dict[str, Any]:
    """Return the result of one pair as a row, measured for about `budget` seconds."""
    naive, tuned = partial(pair.naive, client, keys), partial(pair.tuned, client, keys)
    begun = time.perf_counter()
    naive(), tuned()
    rounds = max(5, min(51, round(budget / (time.perf_counter() - begun))))
    seen = compare(naive, tuned, rounds=rounds)
    return {
        "practice": pair.name,
        "naive_ms": round(1000 * sorted(seen.naive)[rounds // 2], 3),
        "tuned_ms": round(1000 * sorted(seen.tuned)[rounds // 2], 3),
        "ratio": round(seen.ratio, 2),
        "spread_percent": round(seen.spread, 1),
        "rounds": rounds,
        "verdict": seen.verdict,
        "not_when": pair.not_when,
    }


def results(pairs: Sequence[Pair], options: Any) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair, and say on stderr which one is being measured."""
    urls = {"cache": options.url, "cluster": options.cluster_url}
    kinds: tuple[Kind, ...] = ("cache", "cluster")
    for kind in kinds:
        mine = [pair for pair in pairs if pair.needs == kind]
        if not mine:
            continue
        with client_of(kind, urls[kind], options.timeout) as (client, keys):
            for pair in mine:
                say(f"measuring {pair.name} …")
                yield measured(pair, client, keys, options.seconds / len(pairs))


def machine() -> dict[str, Any]:
    """Return what a ratio should be read with: processors, load, and versions."""
    return {"processors": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    header = f"{'practice':28} {'naive':>10} {'tuned':>10} {'ratio':>7} {'spread':>7}  verdict; does not pay when"
    return "\n".join(
        [
            header,
            *(
                f"{row['practice']:28} {row['naive_ms']:>7.2f} ms {row['tuned_ms']:>7.2f} ms {row['ratio']:>7.1f}"
                f" {row['spread_percent']:>5.0f} %  {row['verdict']}; {row['not_when']}"
                for row in rows
            ),
        ]
    )


def main() -> None:
    """Measure the pairs that the command line asks for."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--url", help="the server to measure (default: CACHE_URL, a local or an embedded one)")
    parser.add_argument("--cluster-url", help="a node of the cluster (default: CLUSTER_URL, a local or embedded one)")
    parser.add_argument("--seconds", type=seconds, default=10.0, help="about how long to measure in all (default: 10)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only practices whose name holds TEXT")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the ratios into this SVG file")
    parser.add_timeout()
    options = parser.parse_args()
    for name in ("url", "cluster_url"):
        if given := getattr(options, name):
            checked_url(given, f"--{name.replace('_', '-')}")
    pairs = [pair for pair in PAIRS if options.only.lower() in pair.name.lower()]
    if not pairs:
        raise UsageError(f"no practice is called {options.only!r}: there are {'; '.join(pair.name for pair in PAIRS)}")
    rows = list(results(pairs, options))
    if options.json:
        json.dump({"machine": machine(), "results": rows}, sys.stdout, indent=2)
        print()
    else:
        print(table(rows))
    if options.plot:
        notes = ["" if row["verdict"] in {"pays", "costs"} else row["verdict"] for row in rows]
        ratios = [(row["practice"], row["ratio"], note) for row, note in zip(rows, notes, strict=True)]
        drawing = bars("times faster than the naive way", ratios)
        try:
            options.plot.write_text(drawing)
        except OSError as error:
            raise Failure(f"{options.plot} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    run(main)
