"""The sentences about deployments that are refused, or hold the data of others."""

from __future__ import annotations

import signal
import subprocess
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from fixtures import PROJECT
from fixtures.gate.commands import TIMEOUT
from fixtures.gate.deployment_under_test import (
    OTHERS,
    OURS,
    CommandRecord,
    Judged,
    Shared,
    contents,
    gate_command,
    gate_environment,
    short_id,
    without_ttl,
)
from fixtures.gate.healthy import build
from fixtures.reporting.measurements import Bound
from gate_user import rules
from redis_practices.clients import cluster_client, redis_client
from redis_practices.polling import eventually
from steps.common.vocabulary import TYPES, rows


@given(parsers.parse("a healthy {role:w}"))
def have_healthy(judged: Judged, role: str) -> None:
    """Start a deployment that is well."""
    judged.role, judged.url = role, judged.builder.url(role, None)


@given(parsers.parse('a healthy {role:w} of the kind "{kind}"'))
def have_kind(judged: Judged, role: str, kind: str) -> None:
    """Start a deployment that is well, and that a gate may take for a faulty one."""
    deployment = build(judged.builder, role, kind)
    judged.role, judged.url, judged.options = role, deployment.url, " ".join(deployment.options)


@given(parsers.parse('a {role:w} with the defect "{defect}"'))
def have_defect(judged: Judged, role: str, defect: str) -> None:
    """Start a deployment that is well but for one thing."""
    judged.role, judged.url = role, judged.builder.url(role, defect)


@when("the gate judges it")
def judge(judged: Judged, tmp_path: Path) -> None:
    """Run what is quick of its practice on it, in a process of its own."""
    judged.judge(tmp_path, "--quick")


@when(parsers.parse("the gate judges it with {options}"))
def judge_by(judged: Judged, tmp_path: Path, options: str) -> None:
    """Run its practice, as far as options of pytest say, on it as on somebody's deployment, in a process of its own."""
    judged.judge(tmp_path, options)


@then(parsers.parse('its judgement is "{verdict}"'))
def check_verdict(judged: Judged, verdict: str) -> None:
    """Compare the verdict."""
    assert judged.report["verdict"] == verdict, f"{judged.report['verdict']}\n{judged.said}"


@then(parsers.parse('it cannot tell about "{words}"'))
def check_untold(judged: Judged, words: str) -> None:
    """Find words in the reason of a core scenario that was skipped; of "nothing" there must be none."""
    untold = judged.untold()
    found = not untold if words == "nothing" else any(words in reason for reason in untold.values())
    assert found, f"it cannot tell: {untold}"


@then(parsers.parse('the scenario "{scenario}" failed with "{cause}"'))
def check_reason(judged: Judged, scenario: str, cause: str) -> None:
    """Require that the scenario which should see the defect does, and names it."""
    failed = judged.ended("failed")
    assert scenario in failed, f"it is refused by {', '.join(failed) or 'nothing'}"
    assert cause in failed[scenario], f'"{scenario}" says: {failed[scenario]}'


@then(parsers.parse('every scenario is skipped because "{reason}"'))
def check_skipped(judged: Judged, reason: str) -> None:
    """Require that there were scenarios, and that none ran."""
    ran = [record["id"] for record in judged.report["scenarios"] if record["status"] != "skipped"]
    reasons = {record["reason"] for record in judged.report["scenarios"]}
    assert reasons, "there were none"
    assert not ran, f"these ran: {ran}"
    assert all(reason in told for told in reasons), f"the reasons: {reasons}"


@then("these scenarios passed")
def check_passed(judged: Judged, datatable: Sequence[Sequence[str]]) -> None:
    """Look for scenarios among those that passed."""
    status = {short_id(record): record["status"] for record in judged.records()}
    wanted = [row["SCENARIO"] for row in rows(datatable, ("SCENARIO",))]
    assert {name: status.get(name) for name in wanted} == dict.fromkeys(wanted, "passed"), judged.said[-2000:]


@then(parsers.parse('it tells "{words}"'))
def check_told(judged: Judged, words: str) -> None:
    """Find words in what the run has said."""
    assert words in judged.said, judged.said


@then("these scenarios are skipped")
def check_skips(judged: Judged, datatable: Sequence[Sequence[str]]) -> None:
    """Compare the reasons of skips."""
    told = {short_id(record): record for record in judged.records()}
    for row in rows(datatable, ("SCENARIO", "REASON")):
        record = told[row["SCENARIO"]]
        assert (record["status"], row["REASON"] in (record["reason"] or "")) == ("skipped", True), record["reason"]


USER, PASSWORD = "gate", "s3cret"
BATCH = 200
"""Commands that the suite sends at most in one pipeline: they have waited for their turns, then go together."""

LATE = 0.1
"""Seconds that a command may wait for a processor between its turn and its arrival."""

PRIMARIES = 3


@given(parsers.cfparse("{number:Count} keys of others on a {role:w}", extra_types=TYPES), target_fixture="shared")
def have_shared(judged: Judged, role: str, number: int) -> Iterator[Shared]:
    """Start a deployment, fill it as an application would, and record what it is asked from then on."""
    judged.role, judged.servers = role, judged.builder.servers(role)
    judged.url, servers = judged.servers[0].url, judged.servers[:PRIMARIES]
    with (cluster_client if role == "cluster" else redis_client)(judged.url) as client:
        pipe = client.pipeline(transaction=False)
        for n in range(number):
            key = f"{OTHERS.decode()}{n}"
            [pipe.set, pipe.sadd, pipe.rpush, pipe.append][n % 4](key, "x")
            pipe.expire(key, 86400)
        pipe.execute()
    before = contents(servers, OTHERS)
    with ExitStack() as ending:
        clients = [ending.enter_context(server.client(decode_responses=False)) for server in servers]
        ports = [server.port for server in servers]
        records = [CommandRecord(port, client) for port, client in zip(ports, clients, strict=True)]
        yield Shared(servers, before, records)


@given("a user with the rights of src/gate_user.py alone")
def have_gate_user(judged: Judged) -> None:
    """Give the gate a user of its own."""
    for server in judged.servers:
        with server.client() as client:
            client.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules(judged.role))
    judged.url = judged.url.replace("://", f"://{USER}:{PASSWORD}@")


@given("a user who may run all but these commands")
def have_restricted_user(judged: Judged, datatable: Sequence[Sequence[str]]) -> None:
    """Give the gate a user as managed services do."""
    never = [f"-{row['COMMAND']}" for row in rows(datatable, ("COMMAND",))]
    for server in judged.servers:
        with server.client() as client:
            client.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all", *never)
    judged.url = judged.url.replace("://", f"://{USER}:{PASSWORD}@")


@then(parsers.cfparse("each of these commands was refused {bound:Bound} times", extra_types=TYPES))
def check_refusals(
    shared: Shared, bound: Bound, measure: Callable[..., None], datatable: Sequence[Sequence[str]]
) -> None:
    """Count the refusals of each command (``INFO commandstats``)."""
    with shared.servers[0].client() as client:
        counted = client.info("commandstats")
    for row in rows(datatable, ("COMMAND",)):
        seen = counted[f"cmdstat_{row['COMMAND'].lower().replace(' ', '|')}"]["rejected_calls"]
        measure(f"refusals of {row['COMMAND']}", unit="", bound=bound, seen=seen)


@then("the keys of others are as they were")
def check_others(shared: Shared) -> None:
    """Compare all their values."""
    after = contents(shared.servers, OTHERS)
    assert after == shared.before, f"changed: {sorted(after.items() ^ shared.before.items())[:5]}"


@then('every key that a command named begins with "practices:"')
def check_keys(shared: Shared) -> None:
    """Ask the servers for the keys of every command that they ran."""
    keys: set[bytes] = set()
    for record in shared.records:
        record.close()
        keys |= record.keys()
    assert keys, "no command named a key"
    other = sorted(key for key in keys if not key.startswith(OURS))
    assert not other, f"{len(other)} keys of others were named, such as {other[:5]}"


@then("the servers ran none of these commands")
def check_commands(shared: Shared, datatable: Sequence[Sequence[str]]) -> None:
    """Compare with the commands that the servers have counted."""
    ran = {command for record in shared.records for command in record.counted()}
    never = {row["COMMAND"] for row in rows(datatable, ("COMMAND",))}
    assert not ran & never, f"they ran {sorted(ran & never)}"


@then("what is left of the gate goes by itself")
def check_left(shared: Shared) -> None:
    """Require a ttl of every key of ours that is left."""
    left = without_ttl(shared.servers)
    assert not left, f"{len(left)} keys are left for ever, such as {left[:5]}"


@then(parsers.cfparse("in no second the servers were asked more than {number:Count} commands", extra_types=TYPES))
def check_load(shared: Shared, number: int, measure: Callable[..., None]) -> None:
    """Count the commands of clients in the busiest second, in which a pipeline may have come whole."""
    moments = sorted(moment for record in shared.records for moment, _ in record.commands())
    busiest = max(index + 1 - bisect_left(moments, moment - 1.0) for index, moment in enumerate(moments))
    allowed = round(number * (1 + LATE)) + BATCH
    measure("commands in the busiest second", unit="", bound=Bound.at_most(allowed), seen=busiest)


@when("the gate is killed while its worker waits for tasks")
def kill_gate(judged: Judged, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Begin a run and end it with SIGKILL when the broker holds keys of Celery."""
    # A scenario that takes its time: what it leaves must be seen before it ends by itself.
    command = gate_command(judged.role, judged.url, tmp_path, "-k celery-081")
    running = subprocess.Popen(command, cwd=PROJECT, env=gate_environment(), stdout=subprocess.DEVNULL)
    request.addfinalizer(running.kill)
    eventually(lambda: any(b"_kombu" in key for key in without_ttl(judged.servers)), within=TIMEOUT, every=0.05)
    running.send_signal(signal.SIGKILL)
    running.wait(TIMEOUT)
    assert without_ttl(judged.servers), "nothing was left"
