"""Test the files that CI systems read: workflows, the action, and the component of GitLab."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import PROJECT

WORKFLOWS = sorted(PROJECT.glob(".github/workflows/*.yml"))
ACTION, COMPONENT = PROJECT / "action.yml", PROJECT / "templates" / "accept.yml"

MAY_WRITE = {
    ("book.yml", "publish"): {"id-token", "pages"},
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
    *("pypi org", "pythonhosted org", "docker io", "docker com", "ghcr io", "quay io", "gcr io", "pkg dev"),
    *("npmjs org", "npmjs com", "crates io", "public ecr", "mcr microsoft", "registry gitlab", "rubygems org"),
)
"""Parts of the hosts of registries, with spaces for dots: this file does not contain them either."""

HOSTS = re.compile(rf"\b(?:{'|'.join(REGISTRIES).replace(' ', '[.]')})\b")
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


RELEASE = PROJECT / ".github/workflows/release.yml"


def run_step(job: str, name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the release in a folder, in the shell that GitHub's runner uses."""
    steps = yaml.safe_load(RELEASE.read_text(encoding="utf-8"))["jobs"][job]["steps"]
    [script] = [step["run"] for step in steps if step.get("name") == name]
    command = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a clone of this repository's last commit, whose origin is a bare repository."""
    git = shutil.which("git")
    if git is None or not (PROJECT / ".git").exists():
        pytest.skip("it clones this repository")
    for options in (["--bare", str(PROJECT), "origin"], ["origin", "checkout"]):
        subprocess.run([git, "clone", "-q", *options], cwd=tmp_path, check=True)
    return tmp_path / "checkout"


VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_release_of_another_version_is_refused(checkout: Path) -> None:
    """A tag must name the version of package and chart, and CHANGELOG.md must describe it."""
    for tag, code, said in ((f"v{VERSION}", 0, ""), ("v99.0.0", 1, "pyproject.toml has another version than 99.0.0\n")):
        ended = run_step("build", "Compare the versions", checkout, GITHUB_REF_NAME=tag)
        assert (ended.returncode, ended.stdout, ended.stderr) == (code, said, "")
    changes = checkout / "CHANGELOG.md"
    assert (checkout / "notes/notes.md").read_text(encoding="utf-8").strip() in changes.read_text(encoding="utf-8")
    changes.write_text("# Changelog\n\n## Unreleased\n\n- A change.\n", encoding="utf-8")
    ended = run_step("build", "Compare the versions", checkout, GITHUB_REF_NAME=f"v{VERSION}")
    assert (ended.returncode, ended.stdout) == (1, f'CHANGELOG.md has no section "## {VERSION}"\n')


def test_image_has_tags_of_version_and_line(tmp_path: Path) -> None:
    """The image has two tags: its version, and the line of its patches."""
    given = {"GITHUB_REF_NAME": "v1.2.3", "REPOSITORY": "registry.example/a", "GITHUB_OUTPUT": str(tmp_path / "output")}
    assert run_step("image", "Name the tags", tmp_path, **given).returncode == 0
    image = "registry.example/a/redis-practices"
    assert (tmp_path / "output").read_text(encoding="utf-8") == f"tags={image}:1.2.3,{image}:1.2\n"


def test_tag_of_the_action_moves(checkout: Path) -> None:
    """The tag v1 names the newest release of its line, though it exists already."""
    for message in ("one", "two"):
        given = {f"GIT_{role}_{name}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for name in ("NAME", "EMAIL")}
        git = shutil.which("git") or "git"
        commit = [git, "commit", "-q", "--allow-empty", "-m", message]
        subprocess.run(commit, cwd=checkout, env={**os.environ, **given}, check=True)
        ended = run_step("announce", "Move the tag of the action", checkout, GITHUB_REF_NAME="v1.2.3")
        assert ended.returncode == 0, ended.stderr
        shown = [git, "log", "-1", "--format=%s", "refs/tags/v1"]
        moved = subprocess.run(shown, cwd=checkout.parent / "origin", capture_output=True, text=True, check=True)
        assert moved.stdout == f"{message}\n"


@pytest.mark.slow
def test_release_is_built_and_tested(checkout: Path, tmp_path: Path) -> None:
    """The scripts of the release build the wheel, test it in an empty environment, and list what it installs."""
    given = {"GITHUB_REF_NAME": f"v{VERSION}", "RUNNER_TEMP": str(tmp_path)}
    for name in ("Compare the versions", "Build", "Test the wheel", "List what the wheel installs"):
        ended = run_step("build", name, checkout, **given)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    names = sorted(path.name for path in (checkout / "dist").iterdir())
    assert names == [f"redis_practices-{VERSION}-py3-none-any.whl", f"redis_practices-{VERSION}.tar.gz"]
    listed = json.loads((checkout / "notes/sbom.cdx.json").read_text(encoding="utf-8"))
    assert listed["metadata"]["component"]["name"] == "redis-practices"
    assert {"redis", "celery", "pytest"} <= {one["name"] for one in listed["components"]}
