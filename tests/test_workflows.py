"""Test the files that CI systems read: workflows, the action, and the component of GitLab."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import PROJECT

WORKFLOWS = sorted(PROJECT.glob(".github/workflows/*.yml"))
ACTION, COMPONENT = PROJECT / "action.yml", PROJECT / "templates" / "accept.yml"

MAY_WRITE = {
    ("release.yml", "build"): {"id-token", "attestations"},
    ("release.yml", "package"): {"id-token"},
    ("release.yml", "image"): {"id-token", "attestations", "packages"},
    ("release.yml", "announce"): {"contents"},
}
"""What the jobs may write; all others only read the repository."""

PINNED = re.compile(r"[\w.-]+/[\w./-]+@(?:v\d+(?:\.\d+)*|release/v\d+|[0-9a-f]{40})")
"""An action at a version or a commit."""

BASH = shutil.which("bash") or "bash"

REGISTRIES = (
    "pypi org, pythonhosted org, docker io, docker com, ghcr io, quay io, gcr io, pkg dev, npmjs org, npmjs com,"
    " crates io, public ecr, mcr microsoft, registry gitlab, rubygems org"
)
"""Parts of the hosts of registries, with spaces for dots: this file does not contain them either."""

HOSTS = re.compile(rf"\b(?:{REGISTRIES.replace(', ', '|').replace(' ', '[.]')})\b")
"""Registries and package indexes: the tools' defaults and the user's variables name them."""


def steps_of(text: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of a workflow or of an action."""
    loaded = yaml.safe_load(text)
    for job in (loaded.get("jobs") or {"action": loaded["runs"]}).values():
        yield from job["steps"]


def wrong_steps(text: str) -> Iterator[str]:
    """Yield what is wrong in the steps of a workflow or of an action."""
    for step in steps_of(text):
        if "uses" in step and not PINNED.fullmatch(step["uses"]):
            yield f"{step['uses']} has no fixed version"
        script = step.get("run", "")
        if "${{" in script:
            yield f"an expression becomes a part of the script {script.strip()!r}: give it in env"
        checked = subprocess.run([BASH, "-n"], input=script, capture_output=True, text=True, check=False)
        if checked.returncode:
            yield checked.stderr


def wrong_rights(name: str, text: str) -> Iterator[str]:
    """Yield the jobs of a workflow that may write more than they need."""
    loaded = yaml.safe_load(text)
    if loaded.get("permissions") != {"contents": "read"}:
        yield f"{name}: permissions"
    for job, said in loaded["jobs"].items():
        writes = {right for right, how in said.get("permissions", {}).items() if how != "read"}
        if writes != MAY_WRITE.get((name, job), set()):
            yield f"{name}: {job} may write {', '.join(sorted(writes))}"


def missing_needs(text: str) -> Iterator[str]:
    """Yield each job, step and artifact that a workflow names and that does not exist."""
    jobs = yaml.safe_load(text)["jobs"]
    for name, job in jobs.items():
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        yield from (f"{name} needs {one}" for one in needs if one not in jobs)
        yield from (f"{name} reads needs.{one}" for one in re.findall(r"needs\.(\w+)", str(job)) if one not in needs)
        steps = {step.get("id") for step in job["steps"]}
        yield from (f"{name} reads steps.{one}" for one in re.findall(r"steps\.(\w+)", str(job)) if one not in steps)
    kept = {step["with"]["name"] for step in steps_of(text) if "upload-artifact" in step.get("uses", "")}
    fetched = {step["with"].get("name") for step in steps_of(text) if "download-artifact" in step.get("uses", "")}
    yield from (f"artifact {one}" for one in fetched - {None} - kept)


def wrong_inputs(text: str) -> Iterator[str]:
    """Yield the inputs of a component that are used without being declared, or declared without being used."""
    head, body = text.split("\n---\n")
    declared, used = set(yaml.safe_load(head)["spec"]["inputs"]), set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", body))
    yield from sorted(declared ^ used)


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_steps_are_sound(path: Path) -> None:
    """Each action has a fixed version; each script is valid, and no expression becomes a part of it."""
    assert list(wrong_steps(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_sound(path: Path) -> None:
    """Each job may write only what it needs, and names only jobs, steps and artifacts that exist."""
    text = path.read_text(encoding="utf-8")
    assert [*wrong_rights(path.name, text), *missing_needs(text)] == []


def test_component_is_sound() -> None:
    """The component uses exactly its inputs, and the example gives those without a default."""
    text = COMPONENT.read_text(encoding="utf-8")
    assert list(wrong_inputs(text)) == []
    inputs = yaml.safe_load(text.split("\n---\n")[0])["spec"]["inputs"]
    [example] = yaml.safe_load((PROJECT / "examples/gitlab.yml").read_text(encoding="utf-8"))["include"]
    needed = {name for name, said in inputs.items() if "default" not in said}
    assert needed <= example["inputs"].keys() <= inputs.keys()
    assert example["component"].split("/")[-1].partition("@")[0] == COMPONENT.stem


DEFECTS = (
    ("actions/checkout@v5", "actions/checkout@main", "actions/checkout@main has no fixed version"),
    ("actions/checkout@v5", "actions/checkout", "actions/checkout has no fixed version"),
    ("${GITHUB_REF_NAME#v}", "${{ github.ref_name }}", "an expression becomes a part of the script"),
    ("exit 1; }", "exit 1; ", "syntax error"),
    ("permissions: {id-token: write}", "permissions: {id-token: write, contents: write}", "package may write contents"),
    ("    permissions: {contents: write}\n", "", "announce may write "),
    ("  contents: read\n", "  contents: write\n", "release.yml: permissions"),
    ("needs: build", "needs: built", "package needs built"),
    ("needs: [package, image]", "needs: [package]", "announce reads needs.image"),
    ("id: push", "id: pushed", "image reads steps.push"),
    (
        "{name: dist, path: dist/}\n      - uses: pypa",
        "{name: wheel, path: dist/}\n      - uses: pypa",
        "artifact wheel",
    ),
)
"""Defects of the release workflow: text, the text in its place, and words of the problem."""


@pytest.mark.parametrize(("sound", "broken", "words"), DEFECTS, ids=[one[2] for one in DEFECTS])
def test_defect_is_found(sound: str, broken: str, words: str) -> None:
    """The checks above notice a defect of a workflow."""
    text = (PROJECT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert sound in text
    text = text.replace(sound, broken)
    found = [*wrong_steps(text), *wrong_rights("release.yml", text), *missing_needs(text)]
    assert any(words in one for one in found), found


def test_input_without_use_is_found() -> None:
    """The check of a component notices an input that is not used, and one that is not declared."""
    text = COMPONENT.read_text(encoding="utf-8").replace("stage: $[[ inputs.stage ]]", "stage: $[[ inputs.stages ]]")
    assert list(wrong_inputs(text)) == ["stage", "stages"]


def test_no_registry_is_named() -> None:
    """No file of the repository names the host of a registry or of a package index."""
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        pytest.skip("it reads the list of files from git")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert HOSTS.search(f"https://{'ghcr'}.io/a/b")
    found = []
    for path in (PROJECT / name for name in listed.split("\0") if name):
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            found += [f"{path.relative_to(PROJECT)}: {one.group()}" for one in HOSTS.finditer(text)]
    assert found == []
