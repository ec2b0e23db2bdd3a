"""Simulate the messages of a cluster at rest by the rules of ``clusterCron``.

A node pings each node whose last pong is older than half a node timeout. Each second it also draws five nodes at
random, and pings the one with the oldest pong. Each ping gets a pong, and both gossip about a tenth of the nodes.
Gossip holds the time of the last pong in whole seconds, and a later time than the reader's counts as a pong. All
pings of one check leave before their pongs arrive, so they carry what the node knew before.

The simulated knowledge is that of all nodes about a few of them. Each message gossips about one of these as often as
about any other node.
"""

from __future__ import annotations

import math
import random

HEADER, GOSSIP, EXTENSIONS = 2256, 104, 106
"""Bytes of a bus message, of its gossip about one node, and of Valkey 9's extensions; see `cluster_scale.py`."""

TICK = 0.1004
"""Seconds between two checks of a node's peers (``clusterCron``): 0.1 s, and the time of the check."""

PONG = 0.003
"""Mean seconds until the answer to a ping, on the loopback."""

SAMPLE = 10
"""The number of nodes about which the knowledge of all nodes is simulated."""


def bus(nodes: int, node_timeout: float, numbers: random.Random, periods: int = 9) -> dict[str, float]:
    """Return the traffic of one of `nodes` at rest, in the last two thirds of a number of node timeouts (`periods`)."""
    rounds = math.ceil(max(periods * node_timeout, 30.0) / TICK)
    known = [[0.0] * (nodes - 1) for _ in range(SAMPLE)]
    clocks = [(numbers.uniform(0, TICK), numbers.randrange(10)) for _ in range(nodes - 1)]
    gossip, pings = min(max(3, nodes // 10), nodes - 2), 0
    for number in range(rounds):
        for viewer, (offset, phase) in enumerate(clocks):
            now = number * TICK + offset
            heard = [pongs[viewer] for pongs in known]
            due = [target for target, last in enumerate(heard) if now - last > node_timeout / 2]
            if (number + phase) % 10 == 0:
                due += _drawn(heard, nodes, numbers)
            if due:
                pings += len(due) if number >= rounds // 3 else 0
                for pongs in known:
                    _spread(pongs, viewer, gossip * len(due) / SAMPLE, numbers)
                for target in due:
                    known[target][viewer] = now + numbers.expovariate(1 / PONG)
    size = HEADER + GOSSIP * gossip + EXTENSIONS
    messages = 2 * pings / SAMPLE / ((rounds - rounds // 3) * TICK)
    return {
        "messages/s of a node": messages,
        "bytes of a message": size,
        "MB/s of a node": messages * size / 1e6,
        "GB/s of all": messages * size * nodes / 1e9,
    }


def _drawn(heard: list[float], nodes: int, numbers: random.Random) -> list[int]:
    """Return the nodes of the sample that are drawn among five of all, and have the oldest pong of the five."""
    drawn = [target for target in range(SAMPLE) if numbers.random() < 5 / (nodes - 1)]
    return [target for target in drawn if all(heard[target] <= numbers.choice(heard) for _ in range(4))]


def _spread(pongs: list[float], viewer: int, mean: float, numbers: random.Random) -> None:
    """Spread the times of one node's `pongs` by the gossip of a viewer's pings, and by that of their answers.

    `mean` is the number of its messages that gossip about this node; half a message is one with half the chance.
    """
    told = math.floor(pongs[viewer])
    for _ in range(int(mean + numbers.random())):
        reader = numbers.randrange(len(pongs))
        pongs[reader] = max(pongs[reader], told)
    for _ in range(int(mean + numbers.random())):
        pongs[viewer] = max(pongs[viewer], math.floor(numbers.choice(pongs)))
