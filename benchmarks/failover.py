"""Show what a cluster does in the second in which a primary dies: acknowledged writes of each shard over time.

One writer a shard sends SET after SET to an embedded cluster of 3 primaries with 1 replica each. The primary of the
first shard is killed (SIGKILL). A write counts at the moment of its acknowledgement. The other shards pause as well:
while a slot has no owner, every node answers CLUSTERDOWN (cluster-require-full-coverage).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

from redis.exceptions import RedisError

from lib.ending import run
from lib.side_by_side import caption

from redis_practices.cli import Parser, say, seconds
from redis_practices.polling import eventually
from redis_practices.redis_cluster.topology import slot_of, slot_ranges
from redis_practices.servers import ProcessGroup, start_cluster
from redis_practices.servers.cluster import EmbeddedCluster
from redis_practices.svg import BAD, GOOD, WIDTH, document, label, path, rect, scale

EXAMPLES = """\
  python benchmarks/failover.py
  python benchmarks/failover.py --plot docs/failover.svg"""

STEP, PACE = 0.05, 0.004
"""Seconds of a bar of the picture, and between two writes of a writer."""
LEFT, TOP, LANE, GAP = 120, 64, 70, 22


class Seen(NamedTuple):
    """The moments of the acknowledged writes of each shard, of the kill and of the promotion, in seconds."""

    writes: list[list[float]]
    killed: float
    promoted: float
    ended: float


def watch(cluster: EmbeddedCluster, before: float, after: float) -> Seen:
    """Kill the first primary `before` seconds after the first write, and watch for `after` seconds more."""
    keys = [next(key for key in map(str, count()) if slot_of(key) * 3 // 16384 == shard) for shard in range(3)]
    moments: list[list[float]] = [[], [], []]
    over = threading.Event()

    def keep_writing(shard: int) -> None:
        with cluster.client(socket_timeout=0.5) as client:
            while not over.wait(PACE):
                with suppress(RedisError):
                    client.set(keys[shard], "", ex=60)
                    moments[shard].append(time.monotonic())

    writers = [threading.Thread(target=keep_writing, args=(shard,), daemon=True) for shard in range(3)]
    for writer in writers:
        writer.start()
    eventually(lambda: all(len(of_shard) > 9 for of_shard in moments), within=10.0, every=0.01)  # noqa: PLR2004
    begun = time.monotonic()
    time.sleep(before)
    first = cluster.nodes[0]
    with first.client() as client:
        replica = next(slots.replicas[0] for slots in slot_ranges(client) if slots.primary == first.address)
    with next(node for node in cluster.nodes if node.address == replica).client() as client:
        first.kill()
        killed = time.monotonic()
        eventually(lambda: client.role()[0] in {b"master", "master"}, within=30.0, every=0.01)
        promoted = time.monotonic()
    time.sleep(max(0.0, killed + after - promoted))
    over.set()
    for writer in writers:
        writer.join()
    ended = time.monotonic()
    writes = [[moment - begun for moment in of_shard if moment >= begun] for of_shard in moments]
    return Seen(writes, killed - begun, promoted - begun, ended - begun)


def longest_gap(moments: list[float]) -> tuple[float, float]:
    """Return begin and end of the longest time without a write."""
    return max(pairwise(moments), key=lambda gap: gap[1] - gap[0])


def draw(seen: Seen) -> str:
    """Return a picture with a row a shard: a bar for each 50 ms."""
    (begin, end), x = longest_gap(seen.writes[0]), scale(0, seen.ended, LEFT, WIDTH - 20)
    most = max(max(Counter(int(moment / STEP) for moment in of_shard).values()) for of_shard in seen.writes)
    height = TOP + 3 * LANE + 30
    others = max(later - earlier for earlier, later in map(longest_gap, seen.writes[1:]))
    title = f"A primary is killed: its slots take no write for {end - begin:.2f} s, the other slots for {others:.2f} s"
    drawn = [rect(0, 0, WIDTH, height, fill="#fff"), label(12, 24, title, font_size=15, font_weight="bold")]
    drawn.append(rect(x(begin), TOP, x(end) - x(begin), LANE - GAP, fill="#f6dcd6"))
    for shard, of_shard in enumerate(seen.writes):
        floor = TOP + shard * LANE + LANE - GAP
        y = scale(0, most, floor, TOP + shard * LANE)
        drawn += [label(12, floor - 24, f"primary {shard + 1}"), label(12, floor - 8, "writes", fill="#666")]
        for step, number in sorted(Counter(int(moment / STEP) for moment in of_shard).items()):
            bar = x(step * STEP + STEP) - x(step * STEP) - 1
            drawn.append(rect(x(step * STEP), y(number), bar, floor - y(number), fill=GOOD))
        drawn.append(path((LEFT, floor), (WIDTH - 20, floor), stroke="#999"))
    for moment, words, anchor in ((seen.killed, "killed", "end"), (seen.promoted, "its replica is primary", "start")):
        drawn.append(path((x(moment), TOP - 12), (x(moment), TOP + LANE - GAP), stroke=BAD, stroke_width=2))
        drawn.append(label(x(moment) + (5 if anchor == "start" else -5), TOP - 4, words, text_anchor=anchor, fill=BAD))
    drawn += [
        label(x(mark), height - 10, f"{mark} s", text_anchor="middle", fill="#666")
        for mark in range(int(seen.ended) + 1)
    ]
    return document(WIDTH, height, title, drawn, font_family="sans-serif", font_size=13, fill="#222")


def main() -> None:
    """Kill a primary, print the gaps, and draw them."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--before", type=seconds, default=1.5, help="seconds before the kill (default: 1.5)")
    parser.add_argument("--after", type=seconds, default=3.5, help="seconds after the kill (default: 3.5)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the picture")
    options = parser.parse_args()
    with ProcessGroup() as group:
        seen = watch(start_cluster(group), options.before, options.after)
    print(f"promoted after {seen.promoted - seen.killed:.2f} s")
    for shard, moments in enumerate(seen.writes, 1):
        begin, end = longest_gap(moments)
        print(f"primary {shard}: {len(moments)} writes, longest time without one {end - begin:.3f} s")
    if options.plot:
        options.plot.write_text(draw(seen), encoding="utf-8")
        say(f"{options.plot} is written")
    print(caption())


if __name__ == "__main__":
    run(main)
