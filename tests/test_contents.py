"""features/README.md is the table of contents, in reading order: one line a feature, with its promise.

The order is the one of the file; ``PYTHONPATH=src python -m tests.test_contents`` prints it with what the features say
now, a new feature at the end of its practice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fixtures import PROJECT
from fixtures.bdd.gherkin import read

DOCUMENT = PROJECT / "features" / "README.md"

PRACTICES = {
    "pure_cache": "A pure cache",
    "redis_cluster": "A Redis Cluster",
    "celery_worker": "Celery's broker",
    "tuning": "Tuning",
    "gate": "The acceptance gate",
}

HEAD = """\
# The specification, in reading order

Each line is a feature and what it promises. `pytest features/` proves all of them on real servers, `pytest
features/pure_cache/ttl.feature` one. [VOCABULARY.md](../docs/VOCABULARY.md) defines the sentences.
"""


def in_order(listed: str) -> Iterator[tuple[str, list[Path]]]:
    """Yield each practice with its features: those that the text `listed` links, in its order, then the others."""
    known = re.findall(r"\]\((\w+/\w+\.feature)\)", listed)
    for practice in PRACTICES:
        files = {path.relative_to(PROJECT / "features").as_posix(): path for path in _files(practice)}
        yield practice, [files.pop(name) for name in known if name in files] + list(files.values())


def _files(practice: str) -> list[Path]:
    """Return the feature files of a practice by name."""
    return sorted(PROJECT.glob(f"features/{practice}/*.feature"))


def document(listed: str) -> Iterator[str]:
    """Yield the lines of the table of contents."""
    yield from HEAD.splitlines()
    for practice, paths in in_order(listed):
        yield from ("", f"## {PRACTICES[practice]}", "", "| feature | promise | scenarios |", "|---|---|--:|")
        for path in paths:
            text = read(path)
            promise = text.feature["name"].replace("|", "\\|")
            yield f"| [{path.stem}]({practice}/{path.name}) | {promise} | {sum(1 for _ in text.scenarios())} |"


def test_contents_are_current() -> None:
    """The table of contents names every feature with its promise."""
    listed = DOCUMENT.read_text(encoding="utf-8")
    assert listed.splitlines() == list(document(listed))


def test_practices() -> None:
    """Each folder of features has its place."""
    assert {path.name for path in (PROJECT / "features").iterdir() if path.is_dir()} == {*PRACTICES}


if __name__ == "__main__":
    print("\n".join(document(DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "")))
