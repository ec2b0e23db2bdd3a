"""Measure runs of the specification: wall time, first result, memory, and the processor time of each scenario.

The table gives every run and the median. A scenario is charged with all processes that it started, also with servers
and workers. Unknown options and arguments go to pytest. It needs Linux. benchmarks/cluster_scale.py measures the cost
of more nodes.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from lib import PROJECT
from lib.ending import run
from lib.gate_cost import Cost, cost_of
from lib.side_by_side import caption
from lib.whole_run import in_processes, progress

from redis_practices import cli

EXAMPLES = """\
  python benchmarks/gate_time.py --runs 5
  python benchmarks/gate_time.py --processes 4 --costly 40 features/celery_worker      Its 40 costliest scenarios too.
  python benchmarks/gate_time.py --processes 1,2,4,8 --server-binary /usr/bin/redis-server -m core"""


def numbers(text: str) -> list[int]:
    """Parse a list of numbers of processes."""
    return [cli.count(part) for part in text.split(",")]


def table(title: str, costs: Sequence[Cost]) -> str:
    """Return the figures, a column for each run, and their median."""
    figures = [cost.figures() for cost in costs]
    heads = [*(f"run {number}" for number in range(1, len(costs) + 1)), "median"]
    lines = [f"{title:40} {' '.join(f'{head:>8}' for head in heads)}"]
    for name in figures[0]:
        seen = [one[name] for one in figures]
        lines.append(f"{name:40} {' '.join(f'{value:8.1f}' for value in [*seen, statistics.median(seen)])}")
    return "\n".join([*lines, f"{'verdict':40} {' '.join(f'{cost.verdict:>8}' for cost in costs)}"])


def costly(costs: Sequence[Cost], most: int) -> str:
    """Return the scenarios with most processor time, and the sums of the files, as means of the runs."""
    cpu, seconds, shared, files = (defaultdict[str, float](float) for _ in range(4))
    for cost in costs:
        for sums, added in ((cpu, cost.bill.scenarios), (shared, cost.bill.others), (seconds, cost.scenarios)):
            for name, spent in added.items():
                sums[name] += spent
    for name, spent in cpu.items():
        files[name.partition("::")[0]] += spent
    ran = len(costs)
    lines = [f"{spent / ran:7.2f} {seconds[name] / ran:8.1f}  {name}" for name, spent in largest(cpu, most)]
    of_files = [f"{spent / ran:7.1f}  {name}" for name, spent in largest(files, 15)]
    others = [f"{spent / ran:7.1f}  {name}" for name, spent in largest(shared, 10)]
    heads = ("    cpu  seconds  of scenario", "    cpu  of file", "    cpu  of no scenario")
    return "\n".join([heads[0], *lines, "", heads[1], *of_files, "", heads[2], *others])


def largest(sums: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    """Return the entries with the largest sums, in order."""
    return sorted(sums.items(), key=lambda item: -item[1])[:most]


def imports(most: int) -> str:
    """Return the packages on which a collection spends most import time, without their own imports."""
    command = [sys.executable, "-X", "importtime", "-m", "pytest", "--processes", "0", "--collect-only", "-q", "-s"]
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
    parser.add_argument("--processes", type=numbers, default=[], metavar="N,N", help="default: pytest's choice")
    parser.add_argument("--runs", type=cli.count, default=1, help="runs with each number of processes (default: 1)")
    parser.add_argument("--costly", type=cli.count, default=20, metavar="N", help="list the N costliest (default: 20)")
    options, arguments = parser.parse_known_args()
    wanted = {f"{number} processes": in_processes(number) for number in options.processes} or {"features": []}
    found: dict[str, list[Cost]] = {title: [] for title in wanted}
    for number in range(1, options.runs + 1):
        for title, chosen in wanted.items():
            progress(f"run {number} of {options.runs}: {title}")
            cost = cost_of([*chosen, *arguments] if arguments else [*chosen, "features/"])
            progress()
            if not cost.scenarios:
                raise cli.Failure("no scenario ran")
            found[title].append(cost)
            for line in cost.red:
                print(f"run {number}: {title}: {line}", file=sys.stderr)
    for title, costs in found.items():
        print(table(title, costs), end="\n\n", flush=True)
    print(costly(next(iter(found.values())), options.costly), imports(15), caption(), sep="\n\n")


if __name__ == "__main__":
    run(main)
