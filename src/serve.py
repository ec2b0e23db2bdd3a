"""Start a cache, a cluster, or a broker with its worker on this machine, and keep it until Ctrl-C.

It prints the URL when the deployment is ready. At the end no process and no file of it is left.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import get_args

from redis_practices.cli import Parser, port_number, run, say
from redis_practices.servers.locate import Kind, embedded

EXAMPLES = """\
  python src/serve.py cache
  python src/serve.py cluster --port 7001      It uses the six ports from 7001 on.
  python src/serve.py broker --port 6379       It has a worker; python src/send_task.py finds it there."""


def main() -> None:
    """Start the deployment named on the command line, and wait for the end."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("kind", choices=get_args(Kind), help="the kind of deployment")
    parser.add_argument("--port", type=port_number, help="the port of its first server (default: a free one)")
    options = parser.parse_args()
    # A service manager ends it with SIGTERM, a person with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), embedded(options.kind, options.port) as (url, engine):
        print(url, flush=True)
        say(f"an embedded {engine} serves this {options.kind} until Ctrl-C")
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    run(main)
