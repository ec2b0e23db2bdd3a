"""Test that the guard of a compose stack starts; it needs no Docker until it has something to remove."""

from __future__ import annotations

from subprocess import Popen
from typing import Any

import pytest

from fixtures.stacks.docker import compose


def test_guard_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Require that the guard imports what it needs and ends well, when the block that it guards does."""
    guards: list[Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> Popen[bytes]:
        guards.append(Popen(*arguments, **options))
        return guards[-1]

    monkeypatch.setattr(compose, "Popen", start)
    with compose.guarded("redis-practices-of-no-run"):
        pass
    [guard] = guards
    assert guard.returncode == 0, "the guard of the stack did not start"
