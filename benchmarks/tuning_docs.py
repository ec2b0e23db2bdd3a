"""Write docs/tuning.md, its two pictures and the README's section "Measured" from one run of the programs they name.

Run it on a quiet machine. A ratio with too wide a spread is written as too noisy, not left out.
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
# The gain of tuning on one machine

All numbers are from one run on one machine: {processors} processors, load {load:.1f}, Python {python}, the loopback.
The embedded servers keep their files in memory, so the cost of a disk is not included. Read the spread beside each
ratio; "too noisy" means no conclusion. Over a network, saved round trips gain more. Run it on your own server before
you trust any number.

## Naive against tuned

From `python src/tuning_example.py --plot docs/tuning.svg`. Values without a spread were counted, or measured once.

![times better than the naive way](tuning.svg)

{pairs}

[reported.feature](../features/tuning/reported.feature) reports some ways without recommending them. They are unix
sockets, asyncio for single reads on the loopback, I/O threads, and hash tags inside a pipeline.

## Latency by load

From `python benchmarks/latency.py --plot docs/latency.svg`: an open loop, each request timed from the moment when it
was due. Loads are in % of the rate of a loop of single reads. A value in brackets had too wide a spread over its
rounds.

![p50, p99 and p99.9 by requests a second](latency.svg)

{latency}

## How far from the ceiling

From `python benchmarks/ceiling.py`: one process, 1000 commands in flight, values of 100 bytes.

{ceiling}

The cost of a key of such a batch, in microseconds. Packing and parsing are done in C. The rest is redis-py's objects
and checks, which [`tuning.bulk`](../src/redis_practices/tuning/bulk.py) avoids.

{parts}
"""

README = """\
## Measured

`python src/tuning_example.py` compares each naive way with its tuned twin on your own server, and says when the tuned
one does not pay. [docs/tuning.md](docs/tuning.md) shows a run, with latency by load. Its picture:

![times better than the naive way](docs/tuning.svg)

`python benchmarks/ceiling.py` compares reads of many keys with the benchmark in C: one process, 1000 commands in
flight, {cores} processors, load {load}. A spread above 40 % makes a number meaningless. `tuning.bulk` is
[src/redis_practices/tuning/bulk.py](src/redis_practices/tuning/bulk.py).

{ceiling}

More measurements:

- [docs/cache.md](docs/cache.md): the cost of a cache in front of a function.
- [docs/scale.md](docs/scale.md): a cluster of 1,000 nodes.
- [docs/celery_throughput.md](docs/celery_throughput.md): the gain of the worker's settings, and of a batch transport.
- [docs/compatibility.md](docs/compatibility.md): the promises that each engine keeps, from Redis 6.2 to 8.6, Redict and
  Valkey.

The programs in `benchmarks/` print ratios measured side by side. For example, an embedded cluster of six nodes is ready
12 times sooner than one by `redis-cli --cluster create` (`cluster_start.py`). Further programs:

- `soak.py` runs the specification many times, and lists failures and leftovers.
- `refusals.py` counts the defects of a deployment that each tool notices.
- `leftovers.py` kills runs at random points, and checks for leaked processes and files.
- `engines.py` fetches other engines, and runs the specification on each.
- `gate_time.py` shows where the time of a run goes.

"""


MOST_SECONDS = 3600.0
"""The longest duration of a program in seconds; the slowest takes minutes."""


def seen_by(program: str, *options: str) -> dict[str, Any]:
    """Run a program with ``--json``, and return its output.

    Raises:
        Failure: it failed; its message is on the terminal.
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
    """Return the parts of a batch as a table in Markdown."""
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
