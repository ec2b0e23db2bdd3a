"""Measure a run of the specification: wall time, processor time, memory, and the time to the first result.

Each number of processes is a separate run; benchmarks/cluster_scale.py measures the cost of more nodes. Unknown options
and arguments go to pytest. It needs Linux.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

from lib import PROJECT
from lib.ending import run
from lib.gate_cost import Cost, cost_of
from lib.whole_run import progress

from redis_practices import cli

EXAMPLES = """\
  python benchmarks/gate_time.py
  python benchmarks/gate_time.py --processes 4 --costly 40 features/celery_worker      Its 40 costliest scenarios too.
  python benchmarks/gate_time.py --processes 1,2,4,8 --server-binary /usr/bin/redis-server -m core"""


def numbers(text: str) -> list[int]:
    """Parse a list of numbers of processes."""
    return [cli.count(part) for part in text.split(",")]


def table(costs: dict[int, Cost]) -> str:
    """Return the figures, a column for each number of processes."""
    figures = {number: cost.figures() for number, cost in costs.items()}
    lines = [f"{'processes':40} {' '.join(f'{number:8}' for number in costs)}"]
    titles = next(iter(figures.values()))
    lines += [f"{title:40} {' '.join(f'{seen[title]:8.1f}' for seen in figures.values())}" for title in titles]
    return "\n".join([*lines, f"{'verdict':40} {' '.join(f'{cost.verdict:>8}' for cost in costs.values())}"])


def costly(cost: Cost, most: int) -> str:
    """Return the scenarios with most processor time, and the sums of the files."""
    ranked = sorted(cost.scenarios, key=lambda line: -line["cpu"])[:most]
    lines = [f"{line['cpu']:7.2f} {line['seconds']:8.1f}  {line['id']}" for line in ranked]
    files: Counter[str] = Counter()
    for line in cost.scenarios:
        files[line["id"].partition("::")[0]] += line["cpu"]
    of_files = [f"{cpu:7.1f}  {name}" for name, cpu in files.most_common(15)]
    return "\n".join(["    cpu  seconds  of scenario", *lines, "", "    cpu  of file", *of_files])


def imports(most: int) -> str:
    """Return the packages on which a collection spends most import time, without their own imports."""
    command = [sys.executable, "-X", "importtime", "-m", "pytest", "-n", "0", "--collect-only", "-q", "-s"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)
    spent: Counter[str] = Counter()
    for own, module in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", ended.stderr):
        spent[module.partition(".")[0]] += int(own)
    lines = [f"{microseconds / 1000:7.0f} ms  {package}" for package, microseconds in spent.most_common(most)]
    return "\n".join(
        [f"{sum(spent.values()) / 1000:7.0f} ms  all imports of one process (slowed by the measuring)", *lines]
    )


def main() -> None:
    """Run the specification, and print its cost."""
    parser = cli.Parser(__doc__ or "", EXAMPLES)
    parser.usage = "%(prog)s [options] [arguments of pytest]"
    parser.add_argument("--processes", type=numbers, default=[4, 2, 1], metavar="N,N", help="default: 4,2,1")
    parser.add_argument("--costly", type=cli.count, default=20, metavar="N", help="list the N costliest (default: 20)")
    options, arguments = parser.parse_known_args()
    costs: dict[int, Cost] = {}
    for number in options.processes:
        progress(f"{number} processes")
        costs[number] = cost_of(["-n", str(number), *arguments])
        progress()
        for line in costs[number].red:
            print(f"{number} processes: {line}", file=sys.stderr)
    first = costs[options.processes[0]]
    if not first.scenarios:
        raise cli.Failure("no scenario ran")
    print(table(costs), costly(first, options.costly), imports(15), sep="\n\n")


if __name__ == "__main__":
    run(main)
