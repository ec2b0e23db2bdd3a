"""The sentences about the verdict of the gate on a deployment, and about what the gate does there."""

from __future__ import annotations

from pathlib import Path

from pytest_bdd import given, parsers, then, when

from fixtures.bdd.vocabulary import find, records, register
from fixtures.context import Context, target
from fixtures.gate.defects import MENDED
from fixtures.gate.deployment_under_test import FOREIGN, OURS, DeploymentUnderTest, contents, short_id, without_ttl
from fixtures.gate.healthy import build
from fixtures.gate.worker_cases import DEFECTS, HEALTHY
from fixtures.run.options import SPOKEN
from gate_user import rules
from steps.common.vocabulary import TYPES, Table, options, rows


@given(parsers.parse('a healthy {kind:w} of the kind "{name}"'))
def have_healthy(context: Context, kind: str, name: str) -> None:
    """Start a cache, broker, cluster, backend or worker without a defect, of a kind that a gate may take for faulty.

    `docs/healthy.md` says of each kind what makes it and why it is healthy.

    Example: ``Given a healthy cache of the kind "behind TLS"``
    """
    gate = context.part(DeploymentUnderTest)
    if kind == WORKER:
        gate.have_workers(HEALTHY[name])
        return
    gate.role = SPOKEN.get(kind, kind)
    built = build(gate.builder, gate.role, name)
    gate.url, gate.options = built.url, " ".join(built.options)


@given(parsers.parse('a {kind:w} with the defect "{name}"'))
def have_defect(context: Context, kind: str, name: str) -> None:
    """Start a cache, broker, cluster, backend or worker that is healthy but for one defect of the catalogue.

    Example: ``Given a cache with the defect "one write in 200 is lost"``
    """
    gate = context.part(DeploymentUnderTest)
    gate.role, gate.defect = SPOKEN.get(kind, kind), name
    if kind == WORKER:
        gate.have_workers(DEFECTS[name])
    else:
        gate.url = gate.builder.url(gate.role, name)


WORKER = "worker"
"""The word of a feature for a deployment whose workers are judged, with their broker."""


@given(parsers.parse("a {kind:w} with {count:Count} foreign keys", extra_types=TYPES))
def have_foreign_keys(context: Context, kind: str, count: int) -> None:
    """Start a healthy deployment with keys of another application, and record the commands that it receives.

    Example: ``Given a broker with 2000 foreign keys``
    """
    gate = context.part(DeploymentUnderTest)
    gate.role, gate.servers = kind, gate.builder.servers(kind)
    gate.url = gate.servers[0].url
    gate.fill(count)


@when("the gate judges the deployment")
@records("commands in the busiest second", "commands of all processes of the gate in the second with the most of them")
def judge(context: Context, datatable: Table | None = None) -> None:
    """Run the features of the deployment's practice by its URL in a new process, with --quick by default.

    Example: ``When the gate judges the deployment`` with a table of OPTION and VALUE
    """
    gate, given = context.part(DeploymentUnderTest), options(datatable)
    folder: Path = context.request.getfixturevalue("tmp_path")
    for name in given:
        find("setting", name)
    if "user" in given:
        _, _, denied = given["user"].partition("without: ")
        # Managed services deny some commands to a user with all other rights.
        all_but = ["~*", "&*", "+@all", *[f"-{name}" for name in denied.split(", ")]]
        gate.give_user(all_but if denied else rules(gate.role))
    run = gate.kill_early if "killed when" in given else gate.judge
    run(folder, given.get("arguments", "--quick"))
    if gate.records:
        context.record("commands in the busiest second", lambda _: gate.busiest_second())


register("setting", "arguments", "the arguments of pytest for the gate, in place of --quick")(judge)
register("setting", "killed when", "the event after which SIGKILL ends the gate: `a worker waits for tasks`")(judge)


register("setting", "user", "the user of the gate: `of src/gate_user.py`, or `without: ` and commands")(judge)


@when("the commands of its remedy are typed")
def type_remedy(context: Context) -> None:
    """Type the commands of the catalogue that mend the defect, all of which the refusal must show.

    Example: ``When the commands of its remedy are typed``
    """
    gate = context.part(DeploymentUnderTest)
    check_verdict(context, "refused")
    gate.type_remedy(MENDED[WORKER if gate.case else gate.role][gate.defect])


@then(parsers.parse('the verdict is "{name}"'))
def check_verdict(context: Context, name: str) -> None:
    """Compare the verdict of the report: accepted, partial, refused or error.

    Example: ``Then the verdict is "accepted"``
    """
    gate = context.part(DeploymentUnderTest)
    assert gate.report["verdict"] == name, f"{gate.report['verdict']}\n{gate.said}"


@then(parsers.parse('the core scenarios lack "{text}"'))
def check_lack(context: Context, text: str) -> None:
    """Require that a core scenario was skipped for a reason with this text; ``nothing`` means that none was skipped.

    Example: ``Then the core scenarios lack "CONFIG"``
    """
    untold = context.part(DeploymentUnderTest).skipped_core()
    found = not untold if text == "nothing" else any(text in reason for reason in untold.values())
    assert found, f"skipped core scenarios: {untold}"


@then(parsers.parse('the scenario "{name}" failed with "{text}"'))
def check_reason(context: Context, name: str, text: str) -> None:
    """Require that the scenario with this id failed, and that its reason contains the text.

    Example: ``Then the scenario "cache-008" failed with "appendonly"``
    """
    failed = context.part(DeploymentUnderTest).ended("failed")
    assert name in failed, f"the deployment is refused by {', '.join(failed) or 'no scenario'}"
    assert text in failed[name], f"{name} failed with: {failed[name]}"


@then("the scenarios ended")
def check_scenarios(context: Context, datatable: Table) -> None:
    """Compare status and reason of scenarios, each by its id; ``every one`` stands for all scenarios of the report.

    Example: a table of SCENARIO, STATUS and perhaps REASON
    """
    records = {short_id(record): record for record in context.part(DeploymentUnderTest).scenarios()}
    assert records, "the report has no scenario"
    for row in rows(datatable, ("SCENARIO", "STATUS"), ("REASON",)):
        for name in records if row["SCENARIO"] == "every one" else [row["SCENARIO"]]:
            assert name in records, f"the report has no scenario {name}"
            status, reason = records[name]["status"], records[name]["reason"] or ""
            assert status == row["STATUS"], f"{name} {status}: {reason}"
            assert row.get("REASON", "") in reason, f"{name} {status}: {reason}"


target("the servers", "the servers of the deployment that the gate judges")(
    lambda context: context.part(DeploymentUnderTest)
)


@register("finding", "changed foreign keys", "keys of another application that are gone, new or different since Given")
def changed_foreign_keys(context: Context) -> list[dict[str, object]]:
    """Compare all values with those before the run, as DUMP gives them."""
    gate = context.part(DeploymentUnderTest)
    after = contents(gate.primaries, FOREIGN)
    return [{"KEY": key} for key, _ in sorted(after.items() ^ gate.foreign.items())]


@register("finding", "foreign keys in commands", "keys that a command of the gate named, and that are not its own")
def foreign_keys_in_commands(context: Context) -> list[dict[str, object]]:
    """Ask the servers for the keys of every command that they ran (COMMAND GETKEYS)."""
    keys = context.part(DeploymentUnderTest).keys()
    assert keys, "no command named a key"
    return [{"KEY": key} for key in sorted(keys) if not key.startswith(OURS)]


@register("finding", "keys of the gate without ttl", "keys of the gate that no server will ever delete")
def keys_without_ttl(context: Context) -> list[dict[str, object]]:
    """Return the keys of all runs that have no ttl."""
    return [{"KEY": key} for key in without_ttl(context.part(DeploymentUnderTest).primaries)]
