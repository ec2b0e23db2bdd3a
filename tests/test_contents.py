"""features/README.md is the table of contents, in reading order: one line a feature, with its promise.

The file keeps its order. ``PYTHONPATH=src python -m tests.test_contents`` prints the table of today's features. A new
one stands at the end of its practice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fixtures import PROJECT
from fixtures.bdd.gherkin import Node, read

DOCUMENT = PROJECT / "features" / "README.md"

PRACTICES = {
    "pure_cache": "A pure cache",
    "redis_cluster": "A Redis Cluster",
    "celery_worker": "Celery's broker",
    "result_backend": "Celery's results on a separate server",
    "tuning": "Tuning",
    "gate": "The acceptance gate",
}

HEAD = """\
# The specification, in reading order

Each line is a feature and what it promises. `pytest features/` proves all of them on real servers, `pytest
features/pure_cache/ttl.feature` one. [VOCABULARY.md](../docs/VOCABULARY.md) defines the sentences.
"""


def in_order(listed: str) -> Iterator[tuple[str, list[Path]]]:
    """Yield each practice with its features, in the order of the links in `listed`; new features stand at the end."""
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


MOST_LINES, FEWEST_LINES, LONGEST_BODY, LONGEST_WHY = 150, 30, 12, 5
"""Lines of a file, rows of tables not counted as too many; of a scenario's text and steps; of a feature's reason."""


def badly_sized(path: Path) -> Iterator[str]:
    """Yield what is too long or too short in a feature."""
    text, lines = read(path), len(path.read_text(encoding="utf-8").splitlines())
    rows = len(re.findall(r"^ *\|", path.read_text(encoding="utf-8"), re.MULTILINE))
    if lines < FEWEST_LINES or lines - rows > MOST_LINES:
        yield f"{path.name}: {lines} lines; move it to its neighbour, or cut it by its subjects"
    if not 1 <= _lines(text.feature) <= LONGEST_WHY:
        yield f"{path.name}: say in 1 to {LONGEST_WHY} lines why it matters, and which users are hurt without it"
    for scenario, _ in text.scenarios():
        if len(scenario["steps"]) + _lines(scenario) > LONGEST_BODY:
            yield f"{path.name}: make this scenario simpler: {scenario['name']}"
        if re.fullmatch(r"<[^<>]*>", scenario["name"]):
            yield f"{path.name}: a placeholder alone is no name: {scenario['name']}"


def _lines(part: Node) -> int:
    """Return how many lines the description of a part has."""
    return len([line for line in part["description"].splitlines() if line.strip()])


def test_features_are_of_a_size() -> None:
    """Each file has 30 lines, and 150 besides tables at most; it says why, and each scenario has at most 12."""
    assert [problem for path in sorted(PROJECT.glob("features/*/*.feature")) for problem in badly_sized(path)] == []


def test_long_feature(tmp_path: Path) -> None:
    """A file without a reason, a long scenario and a bare name are named."""
    path = tmp_path / "long.feature"
    path.write_text("Feature: F\n  Scenario Outline: <NAME>\n" + "    Given a server\n" * 13, encoding="utf-8")
    problems = list(badly_sized(path))
    assert [" ".join(problem.split()[1:4]) for problem in problems] == [
        "15 lines; move",
        "say in 1",
        "make this scenario",
        "a placeholder alone",
    ]


def test_practices() -> None:
    """Each folder of features has its place."""
    assert {path.name for path in (PROJECT / "features").iterdir() if path.is_dir()} == {*PRACTICES}


if __name__ == "__main__":
    print("\n".join(document(DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "")))
