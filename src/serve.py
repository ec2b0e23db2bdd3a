"""Start a cache, a cluster, or a broker with its worker on this machine, and keep it until Ctrl-C.

It prints the URL when the deployment is ready. At the end no process and no file of it is left.
"""

from __future__ import annotations

import argparse
import signal
import time
from contextlib import suppress
from typing import Any, get_args

from redis_practices.cli import Parser, UsageError, count, port_number, run, say, seconds, show_progress, whole_number
from redis_practices.servers.locate import Kind, embedded

EXAMPLES = """\
  python src/serve.py cache
  python src/serve.py cluster --port 7001      It uses the six ports from 7001 on.
  python src/serve.py cluster --primaries 100 --replicas 1
                                               200 nodes: 2 GB of memory, ready in 5 s on 2 idle cores.
  python src/serve.py broker --port 6379       It has a worker; python src/send_task.py finds it there."""


def main() -> None:
    """Start the deployment named on the command line, and wait for the end."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("kind", choices=get_args(Kind), help="the kind of deployment")
    parser.add_argument("--port", type=port_number, help="the port of its first server (default: a free one)")
    cluster = parser.add_argument_group("of a cluster")
    cluster.add_argument("--primaries", type=count, metavar="N", help="nodes with slots (default: 3)")
    cluster.add_argument("--replicas", type=whole_number, metavar="N", help="replicas of each primary (default: 1)")
    cluster.add_argument(
        "--node-timeout",
        type=seconds,
        metavar="SECONDS",
        help="silence after which a node counts as failed (default: 0.5; above 40 nodes 15)",
    )
    cluster.add_argument(
        "--insist",
        action="store_true",
        default=None,
        help="try more nodes than the memory of this machine seems to hold",
    )
    options = parser.parse_args()
    shape = shape_of(options)
    # A service manager ends it with SIGTERM, a person with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with embedded(options.kind, options.port, **shape) as (url, engine), suppress(KeyboardInterrupt):
        print(url, flush=True)
        say(f"an embedded {engine} serves this {options.kind} until Ctrl-C")
        while True:
            time.sleep(1.0)


def shape_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a cluster as the arguments of `start_cluster`.

    Raises:
        UsageError: another deployment gets one, or the ports end above 65535.
    """
    given = {name: getattr(options, name) for name in ("primaries", "replicas", "node_timeout", "insist")}
    shape = {name: value for name, value in given.items() if value is not None}
    if options.kind != "cluster":
        if shape:
            raise UsageError(f"--{next(iter(shape)).replace('_', '-')} is for a cluster, not for a {options.kind}")
        return {}
    nodes = shape.get("primaries", 3) * (1 + shape.get("replicas", 1))
    if options.port and options.port + nodes > 2**16:
        raise UsageError(f"argument --port: {nodes} ports from {options.port} on end above 65535")
    if "node_timeout" in shape:
        shape["node_timeout_ms"] = round(1000 * shape.pop("node_timeout"))
    return {**shape, "progress": show_progress}


if __name__ == "__main__":
    run(main)
