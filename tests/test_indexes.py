"""Test the promises to readers of src/: public names, current indexes, harmless commands."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import PROJECT
from fixtures.gate.defects import WATCHED
from fixtures.gate.healthy import KINDS
from fixtures.gate.worker_cases import HEALTHY

PUBLIC = {
    "redis_practices.clients": ["redis_client", "cluster_client"],
    "redis_practices.pure_cache": ["CacheAside", "AsyncCacheAside", "NearCache"],
    "redis_practices.celery_worker": ["once", "Outbox"],
    "redis_practices.servers": ["ProcessGroup", "start_server", "start_cluster", "CACHE", "BROKER"],
}
"""The names that readers import, by package."""


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """A Python with src/ alone imports each name, without pytest and Celery."""
    program = f"""
import sys
from {package} import {", ".join(PUBLIC[package])}
assert not {{"pytest", "celery", "kombu"}} & {{*sys.modules}}
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=PROJECT / "src", check=False, capture_output=True, text=True, timeout=60)
    assert not ended.returncode, ended.stderr


@pytest.mark.parametrize("practice", ["celery_worker", "redis_cluster", "pure_cache", "tuning"])
def test_index(practice: str) -> None:
    """The index of a practice lists exactly its modules and features; each promise is a sentence."""
    package = PROJECT / "src" / "redis_practices" / practice
    lines = (ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "").splitlines()
    head, *rows = lines[2:]
    assert not [row for row in rows if not row.partition("  ")[0].endswith(".")]
    where, what = head.index("module"), head.index(f"features/{practice}/")
    modules = {row[where:what].strip() for row in rows} - {"-"}
    assert {name for name in modules if "/" not in name} == {path.stem for path in package.glob("[!_]*.py")}
    assert all((package / name).exists() for name in modules if "/" in name)
    features = {name for row in rows for name in re.split(", | ", row[what:].partition("- ")[0]) if name}
    assert features == {path.stem for path in (PROJECT / "features" / practice).glob("*.feature")}


PACKAGES = sorted(path.parent for name in ("fixtures", "steps") for path in PROJECT.glob(f"{name}/**/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_contents(package: Path) -> None:
    """A package of fixtures or steps lists each of its modules and packages, one a line with a full stop."""
    lines = (ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "").splitlines()
    named = {line.split()[0] for line in lines[2:] if line[0] != " "} - {"module"}  # the header of a table
    modules = {path.stem for path in package.glob("[!_]*.py")}
    assert not [line for line in lines[2:] if not line.startswith("module ") and not line.endswith(".")]
    assert {name.rstrip("/") for name in named} == modules | {
        path.parent.name for path in package.glob("*/__init__.py")
    }


def test_healthy_kinds() -> None:
    """docs/healthy.md has a row for each kind of healthy deployment in the feature."""
    page = (PROJECT / "docs" / "healthy.md").read_text()
    listed = {
        (role, kind)
        for roles, kind in re.findall(r"^\| ([\w, ]+) \| ([^|]+) \|", page, re.MULTILINE)
        for role in roles.split(", ")
    }
    feature = (PROJECT / "features" / "gate" / "healthy.feature").read_text()
    outlines = re.split(r'Given a healthy (\w+) of the kind "<', feature)[1:]
    judged = {
        (role, kind.strip())
        for role, rows in zip(outlines[::2], outlines[1::2], strict=True)
        for kind in re.findall(r"^ +\| (.+?) +\| (?:accepted|partial)", rows, re.MULTILINE)
    }
    assert len(judged) > len(KINDS)
    assert {kind for _, kind in judged} == {*KINDS, *WATCHED, *HEALTHY}
    assert not {(role, kind) for role, kind in judged if not {(role, kind), ("all", kind)} & listed} - {
        (role, "plain") for role, _ in judged
    }


def test_loopback_is_kept() -> None:
    """The measurement of vanished clients never turns off the loopback of the machine."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-Urn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a network namespace without root needs Linux, unshare, and user namespaces")
    # A namespace whose loopback is up already, as on every machine.
    program = """
import subprocess, sys
from redis_practices.tuning.connections import is_new_namespace, set_loopback

assert is_new_namespace()
set_loopback(up=True)

ended = subprocess.run([sys.executable, "-m", "redis_practices.tuning.connections"], capture_output=True, text=True)

assert ended.returncode == 1 and "unshare" in ended.stderr, ended
assert not is_new_namespace(), "the loopback is down"
"""
    command = [unshare, "-Urn", sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=PROJECT / "src", check=False, capture_output=True, text=True, timeout=60)
    assert not ended.returncode, ended.stderr
