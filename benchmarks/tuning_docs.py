"""Write docs/tuning.md, its two pictures and the README's section "Measured" from one run of the programs they name.

Run it on a quiet machine: a ratio whose spread is too wide is written down as too noisy, not left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lib.ending import run
from lib.side_by_side import TOO_WIDE

from ceiling import markdown as ceilings
from redis_practices.cli import Failure, Parser, say
from redis_practices.tuning.catalogue import markdown

EXAMPLES = "  python benchmarks/tuning_docs.py"
ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "## Measured", "## Where things are"

DOC = """\
# What tuning bought on one machine

All numbers are of one machine and one run: {processors} processors, load {load:.1f}, Python {python}, the loopback,
embedded servers, whose files are in memory: what a disk costs is not seen. Read the spread beside each ratio; "too
noisy" means that nothing is concluded. On a network what saves round trips gains more. Run it on your own server before
you believe any of it.

## Naive against tuned

From `python src/tuning_example.py --plot docs/tuning.svg`. What has no spread was counted, or seen once.

![times better than the naive way](tuning.svg)

{pairs}

No advice are those that [reported.feature](../features/tuning/reported.feature) only reports: unix sockets, asyncio for
single reads on the loopback, threads for input and output, hash tags inside a pipeline.

## Latency by load

From `python benchmarks/latency.py --plot docs/latency.svg`: an open loop, each request timed from the moment it was
due, loads in % of what a loop of single reads reaches. A value in brackets spread too wide over its rounds.

![p50, p99 and p99.9 by requests a second](latency.svg)

{latency}

## How far from the ceiling

From `python benchmarks/ceiling.py`: one process, 1000 commands in flight, values of 100 bytes.

{ceiling}

What a key of such a batch costs, in microseconds. Packing and parsing are done in C; what is left to gain are
redis-py's own objects and checks, which [`tuning.bulk`](../src/redis_practices/tuning/bulk.py) leaves out.

{parts}
"""

README = """\
## Measured

`python src/tuning_example.py` compares each naive way with its tuned twin on your own server, and says when the tuned
one does not pay; [docs/tuning.md](docs/tuning.md) has a run, with latency by load. Its picture:

![times better than the naive way](docs/tuning.svg)

How close reads of many keys come to the benchmark in C, from `python benchmarks/ceiling.py`: one process, 1000
commands in flight, {cores} processors, load {load}; a spread of more than 40 % makes a number no result.
`tuning.bulk` is [src/redis_practices/tuning/bulk.py](src/redis_practices/tuning/bulk.py).

{ceiling}

[docs/cache.md](docs/cache.md) says what a cache in front of a function costs, [docs/scale.md](docs/scale.md) what a
cluster of 1,000 nodes does, [docs/celery_throughput.md](docs/celery_throughput.md) what the worker's settings buy, and
[docs/compatibility.md](docs/compatibility.md) which engines keep which promises, from Redis 6.2 to 8.6, Redict and
Valkey.

The programs in `benchmarks/` print ratios measured side by side, such as an embedded cluster of six nodes that is ready
12 times sooner than `redis-cli --cluster create` makes one (`cluster_start.py`). `soak.py` runs the specification many
times and lists what was ever not green, `leftovers.py` ends runs at random moments and looks for what they leave,
`engines.py` fetches other engines and runs it on each, and `gate_time.py` says where the time of a run goes.

"""


MOST_SECONDS = 3600.0
"""Seconds that a program may take; the longest takes minutes."""


def seen_by(program: str, *options: str) -> dict[str, Any]:
    """Run a program with ``--json`` and return what it saw.

    Raises:
        Failure: it failed; its own words are on the terminal.
    """
    say(f"running {program} …")
    command = [sys.executable, program, "--json", *options]
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Failure(str(error)) from None
    if done.returncode:
        raise Failure(f"{program} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def latencies(rows: list[dict[str, Any]]) -> str:
    """Return the percentiles by load as a table in Markdown."""
    names = [name for name in rows[0] if f"{name}_spread" in rows[0]]
    lines = [f"| load | requests a second | {' | '.join(names)} |", f"|--:|--:|{'--:|' * len(names)}"]
    for row in rows:
        cells = [
            f"({row[name]:.2f} ms)" if row[f"{name}_spread"] > TOO_WIDE else f"{row[name]:.2f} ms" for name in names
        ]
        lines.append(f"| {row['share_percent']} % | {row['rate']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parts_of(rows: list[dict[str, Any]]) -> str:
    """Return what a batch costs of what as a table in Markdown."""
    names = [name for name in rows[0] if name != "way"]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    lines += [f"| {row['way']} | {' | '.join(f'{row[name]:.2f}' for name in names)} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, then write."""
    Parser(__doc__, EXAMPLES).parse_args()
    ceiling = seen_by("benchmarks/ceiling.py")
    pairs = seen_by("src/tuning_example.py", "--plot", "docs/tuning.svg")
    latency = seen_by("benchmarks/latency.py", "--plot", "docs/latency.svg")
    tables = {"ceiling": ceilings(ceiling["rows"]), "parts": parts_of(ceiling["parts"])}
    filled = DOC.format(
        **pairs["machine"], **tables, pairs=markdown(pairs["results"]), latency=latencies(latency["rows"])
    )
    (ROOT / "docs/tuning.md").write_text(filled)
    readme = (ROOT / "README.md").read_text()
    begin, end = readme.index(BEGIN), readme.index(END)
    (ROOT / "README.md").write_text(readme[:begin] + README.format(**ceiling["machine"], **tables) + readme[end:])


if __name__ == "__main__":
    run(main)
