"""Test the gate on servers that refuse commands: a skip or a refusal with its reason, never an error."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fixtures.proxies.streams import Command, Mutation, RespProxy
from fixtures.proxies.tampering import Rewrite
from fixtures.run.processes import ForkingGroup
from redis_practices.servers.server import BROKER, CACHE, Server, start_server
from tests.cases.judging import Judgement, judge

UNKNOWN = "-ERR unknown command '{0}', with args beginning with: \r\n"
NOPERM = "-NOPERM User gate has no permissions to run the '{0}' command\r\n"
MASTERDOWN = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"
LOADING = "-LOADING Redis is loading the dataset in memory\r\n"
MISCONF = "-MISCONF Errors writing to the AOF file: No space left on device\r\n"
GREETINGS = {"HELLO", "AUTH", "SELECT", "CLIENT"}
"""The errors of a server that loads its data, or has lost its primary."""


class Refusing(Mutation):
    """A server that refuses `names`, by default all but greetings, forever or for `seconds`."""

    def __init__(self, refusal: str, *names: str, seconds: float = 0.0) -> None:
        self._refusal, self._names, self._seconds = refusal, names, seconds
        self._until = 0.0

    def command(self, command: Command) -> Command | bytes:
        """Return the error for a refused command."""
        self._until = self._until or time.monotonic() + self._seconds
        name = command[0].upper().decode()
        refused = name in self._names if self._names else name not in GREETINGS
        if not refused or (self._seconds and time.monotonic() > self._until):
            return command
        return self._refusal.format(name).encode()


@pytest.fixture
def judged(
    group: ForkingGroup, mutated: Callable[[int, Mutation], RespProxy]
) -> Callable[[str, Mutation, str], Judgement]:
    """Give a function that judges a server behind a proxy."""

    def judge_it(role: str, mutation: Mutation, options: str) -> Judgement:
        server: Server = start_server(group, CACHE if role == "cache" else BROKER)
        return judge(group, role, mutated(server.port, mutation).url, options)

    return judge_it


def skipped(judgement: Judgement) -> set[str]:
    """Return the reasons of skips, up to their first colon."""
    return {str(one["reason"]).partition(":")[0] for one in judgement.report["scenarios"] if one["status"] == "skipped"}


LACKS: dict[str, tuple[str, tuple[str, ...], set[str]]] = {
    "no CLUSTER": (UNKNOWN, ("CLUSTER",), set()),
    "no right to CLUSTER": (NOPERM, ("CLUSTER",), set()),
    "neither CLUSTER nor INFO": (UNKNOWN, ("CLUSTER", "INFO"), {"needs INFO, which the server refuses"}),
    "no CONFIG": (UNKNOWN, ("CONFIG",), {"needs CONFIG GET, which the server refuses"}),
    "no CLIENT": (UNKNOWN, ("CLIENT",), {"needs CLIENT, which the server refuses"}),
    "no right to PING": (NOPERM, ("PING",), {"needs PING, which the server refuses"}),
}
"""By the missing feature of a cache: the error, the commands, and the reasons of skips."""


@pytest.mark.slow
@pytest.mark.parametrize("lack", LACKS)
def test_gate_judges_a_cache_that_lacks(judged: Callable[[str, Mutation, str], Judgement], lack: str) -> None:
    """The gate judges a cache without optional commands by the other scenarios."""
    refusal, names, reasons = LACKS[lack]
    judgement = judged("cache", Refusing(refusal, *names), '-k "cache-005 or cache-006 or cache-062"')
    assert judgement.failed == {}
    assert judgement.passed > 0
    assert {reason for reason in skipped(judgement) if reason.startswith("needs")} == reasons
    assert "(refuses" in judgement.said


@pytest.mark.slow
def test_gate_judges_a_cache_that_hides_its_version(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """The gate judges a cache without a version in INFO, and skips scenarios that need it."""
    hidden = Rewrite(b"INFO", rb"(redis|valkey)_version:[\d.]+\r\n", b"")
    judgement = judged("cache", hidden, '-k "cache-005 or cache-006 or cache-011"')
    assert judgement.failed == {}
    assert judgement.passed > 0
    assert "needs to know" in skipped(judgement)


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [UNKNOWN, NOPERM], ids=["not there", "no right"])
def test_gate_skips_what_needs_a_script(judged: Callable[[str, Mutation, str], Judgement], refusal: str) -> None:
    """The gate skips scenarios that need EVAL on a cache without it."""
    judgement = judged("cache", Refusing(refusal, "EVAL", "EVALSHA", "SCRIPT"), "-m core")
    assert judgement.failed == {}
    assert "needs EVAL, which the server refuses" in skipped(judgement)


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [MASTERDOWN, MISCONF], ids=["MASTERDOWN", "MISCONF"])
def test_gate_refuses_a_server_in_trouble(judged: Callable[[str, Mutation, str], Judgement], refusal: str) -> None:
    """Scenarios refuse a server that answers every command with an error, and show that error."""
    judgement = judged("cache", Refusing(refusal), '-k "cache-077 or cache-086"')
    assert judgement.verdict == "refused"
    assert any(refusal.split()[1] in reason for reason in judgement.failed.values()), judgement.failed


@pytest.mark.slow
def test_gate_waits_for_a_server_that_loads(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """The gate waits for a server that loads its data for 3 s, and prints so."""
    judgement = judged("cache", Refusing(LOADING, seconds=3.0), '-k "cache-005 or cache-006"')
    assert "loads its data: waiting 60 s at most" in judgement.said
    assert judgement.failed == {}
    assert judgement.passed > 0


@pytest.mark.slow
def test_gate_says_what_a_server_without_hello_needs(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """A server without HELLO leads to one line with the option that helps."""
    judgement = judged("cache", Refusing(UNKNOWN, "HELLO"), "-m core")
    assert judgement.exit_code == pytest.ExitCode.USAGE_ERROR
    assert "add protocol=2 to the URL (?protocol=2)" in judgement.said


@pytest.mark.slow
def test_gate_names_the_command_that_a_broker_lacks(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """A broker without PUBLISH is refused by the scenario about it."""
    judgement = judged("broker", Refusing(UNKNOWN, "PUBLISH"), "-k celery-030")
    assert judgement.verdict == "refused"
    assert "unknown command 'PUBLISH'" in str(judgement.failed)


@pytest.mark.slow
def test_gate_waits_once_for_a_worker_that_cannot_start(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """A broker that refuses workers fails each scenario with a worker, after a single wait."""
    judgement = judged("broker", Refusing(MISCONF), "-m core")
    waited = {name: why for name, why in judgement.failed.items() if "no Celery worker starts on" in why}
    assert len(waited) >= 3, judgement.failed
    assert all("which answers it: MISCONF Errors writing" in why for why in waited.values())
    seconds = {one["id"].rpartition("::")[2]: one["seconds"] for one in judgement.report["scenarios"]}
    assert sorted(seconds[name] for name in waited)[-2] < 5.0, seconds


@pytest.mark.slow
def test_gate_names_what_is_no_number(judged: Callable[[str, Mutation, str], Judgement]) -> None:
    """A server with words in place of numbers in INFO is refused with the field."""
    judgement = judged(
        "cache", Rewrite(b"INFO", rb"(connected_clients|total_system_memory):\d+", rb"\1:lots"), "-m audit"
    )
    assert any("says 'lots' of connected_clients, which is no number" in why for why in judgement.failed.values())


class OkToEverything(Mutation):
    """A server that is healthy until the first write, and then answers OK to everything."""

    def __init__(self) -> None:
        self._broken = False

    def command(self, command: Command) -> Command | bytes:
        """Answer as a healthy server, or OK."""
        self._broken = self._broken or command[0].upper() in {b"SET", b"LPUSH"}
        return b"+OK\r\n" if self._broken else command


@pytest.mark.slow
@pytest.mark.parametrize("role", ["cache", "broker"])
def test_gate_outlives_a_server_that_breaks(judged: Callable[[str, Mutation, str], Judgement], role: str) -> None:
    """A server that starts to answer nonsense is refused, with evidence and a complete run."""
    judgement = judged(role, OkToEverything(), "--quick -k data_path")
    assert (judgement.verdict, judgement.exit_code) == ("refused", pytest.ExitCode.TESTS_FAILED), judgement.said
    assert "Traceback" not in judgement.said
