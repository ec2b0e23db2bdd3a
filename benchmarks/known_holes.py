"""Renew the table of known holes, ``src/redis_practices/known_holes.toml``, from the engines' advisories.

It needs a network, and prints each line that has changed. A line's version only rises, and a new line is added. Ends of
life, holes that depend on a setting, and versions of distributions are written by hand.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from lib import PROJECT
from lib.ending import run

from redis_practices.cli import Failure, Parser
from redis_practices.server_info import HOLES, version_of

ADVISORIES = "https://api.github.com/repos/{}/security-advisories?state=published&per_page=100"
"""The public list of a repository's advisories, the newest first."""

REPOSITORIES = {"redis": "redis/redis", "valkey": "valkey-io/valkey"}

Advisory = Mapping[str, Any]


def mended(advisories: Iterable[Advisory]) -> dict[str, tuple[str, str]]:
    """Return by line the first version that mends all advisories, with the address of the last of them."""
    found: dict[str, tuple[str, str]] = {}
    for advisory in advisories:
        patched = " ".join(str(one.get("patched_versions") or "") for one in advisory["vulnerabilities"] or ())
        for version in re.findall(r"(?<![\d.])\d+\.\d+\.\d+(?!\d|\.\d|-rc)", patched):
            line = version.rpartition(".")[0]
            if line not in found or version_of(version) > version_of(found[line][0]):
                found[line] = version, advisory["html_url"]
    return found


def renewed(text: str, advisories: Mapping[str, Iterable[Advisory]], today: date) -> str:
    """Return the table with the versions that the advisories of each engine ask for."""
    lines: list[str] = []
    engine = ""
    patched = {name: mended(of_it) for name, of_it in advisories.items()}
    for line in text.splitlines():
        written = line
        if line.startswith("["):
            engine = line.strip("[]")
        elif line.startswith("renewed = "):
            written = f"renewed = {today.isoformat()}"
        elif found := re.match(r'"(?P<line>[\d.]+)" = \{ mended = "(?P<mended>[\d.]*)"', line):
            version, source = patched.get(engine, {}).pop(found["line"], ("", ""))
            if version and version_of(version) > version_of(found["mended"]):
                written = line.replace(f'mended = "{found["mended"]}"', f'mended = "{version}"')
                written = re.sub(r'source = ".*"', f'source = "{source}"', written)
        elif not line and engine in patched:
            of_table = re.findall(r'^"([\d.]+)" = \{ mended', "\n".join(lines), re.MULTILINE)
            newest = max(map(version_of, of_table))
            for name, (version, source) in sorted(patched.pop(engine).items(), key=lambda one: version_of(one[0])):
                if version_of(name) > newest:
                    lines.append(f'"{name}" = {{ mended = "{version}", source = "{source}" }}')
        lines.append(written)
    return "\n".join(lines) + "\n"


def fetch(repository: str) -> list[Advisory]:
    """Return the advisories of a repository (OSError)."""
    with urllib.request.urlopen(ADVISORIES.format(repository), timeout=30) as answer:  # noqa: S310 - of https
        found: list[Advisory] = json.load(answer)
        return found


def main() -> None:
    """Fetch the advisories, and write the table."""
    Parser(__doc__ or "", "  python benchmarks/known_holes.py").parse_args()
    before = HOLES.read_text(encoding="utf-8")
    try:
        advisories = {engine: fetch(repository) for engine, repository in REPOSITORIES.items()}
    except OSError as error:
        raise Failure(f"the advisories cannot be fetched: {error}") from None
    after = renewed(before, advisories, datetime.now(UTC).date())
    HOLES.write_text(after, encoding="utf-8")
    print(*(line for line in after.splitlines() if line not in before.splitlines()), sep="\n")
    print(f"{HOLES.relative_to(PROJECT)} is renewed")


if __name__ == "__main__":
    run(main)
