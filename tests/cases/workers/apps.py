"""Run the workers of one row of docs/incidents.md, "Running workers", until Ctrl-C.

Use another broker for each row: messages, settings and keys of a row stay there.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress

from fixtures.gate.worker_cases import DEFECTS, HEALTHY
from fixtures.gate.worker_scenes import staged
from redis_practices.cli import Parser, UsageError, nearest, run, say
from redis_practices.clients import checked_url

CASES = {case.number: case for case in (*DEFECTS.values(), *HEALTHY.values()) if case.number}
"""The cases by the number of their row."""

EXAMPLES = """\
  python src/serve.py cache --port 6399 &
  python -m tests.cases.workers.apps W-03 --broker redis://127.0.0.1:6399/0"""


def main() -> None:
    """Start the programs of the row, and wait for the end."""
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("row", help="the number of the row: W-01 to W-50, or HW-01 to HW-32")
    parser.add_argument("--broker", required=True, metavar="URL", help="a broker that nothing else uses")
    options = parser.parse_args()
    broker = checked_url(options.broker, "--broker")
    if not (case := CASES.get(options.row.upper())):
        raise UsageError(f"there is no row {options.row}{nearest(options.row.upper(), CASES)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), staged(case, broker) as scene:
        say(f"{case.number} runs until Ctrl-C; the logs are in {scene.group.folder}")
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    run(main)
