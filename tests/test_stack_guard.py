"""Test that the guard of a compose stack starts; it needs no Docker for that."""

from __future__ import annotations

from subprocess import Popen
from typing import Any

import pytest

from fixtures.stacks.docker import compose


def test_guard_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard imports its modules, and exits after a successful block."""
    guards: list[Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> Popen[bytes]:
        guards.append(Popen(*arguments, **options))
        return guards[-1]

    monkeypatch.setattr(compose, "Popen", start)
    with compose.guarded("redis-practices-of-no-run"):
        pass
    [guard] = guards
    assert guard.returncode == 0, "the guard of the stack did not start"
