"""Test what a reader of src/ relies on: public names, and indexes that name modules and features that exist."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from fixtures import PROJECT

PUBLIC = {
    "redis_practices.clients": ["redis_client", "cluster_client"],
    "redis_practices.pure_cache": ["CacheAside", "AsyncCacheAside", "NearCache"],
    "redis_practices.celery_worker": ["once", "Outbox"],
    "redis_practices.servers": ["ProcessGroup", "start_server", "start_cluster", "CACHE", "BROKER"],
}
"""Names that readers import, by package."""


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """A Python that knows src/ alone imports each name, and imports neither pytest nor Celery for it."""
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
    """The index of a package names each of its modules, with features that exist."""
    package = PROJECT / "src" / "redis_practices" / practice
    lines = (ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "").splitlines()
    columns = next(line for line in lines if line.rstrip().endswith(f"features/{practice}/"))
    where, what = columns.index("module"), columns.index("features/")
    rows = [line for line in lines[lines.index(columns) + 1 :] if len(line) > what and line[where - 1] == " "]
    modules = {row[where:what].strip() for row in rows}
    tools = {"measuring", "load", "catalogue"}  # named below the table
    assert modules == {path.stem for path in package.glob("[!_]*.py")} - tools
    features = {name for row in rows for name in row[what:].split(", ")}
    assert features <= {path.stem for path in (PROJECT / "features" / practice).glob("*.feature")}
