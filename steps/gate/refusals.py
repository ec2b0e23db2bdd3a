"""The sentences about the gate's judgement of deployments that are well but for one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_bdd import given, parsers, then, when

from fixtures.gate.deployment_under_test import CHOSEN, Judged
from steps.common.vocabulary import rows


@given(parsers.parse("a healthy {role:w}"))
def have_healthy(judged: Judged, role: str) -> None:
    """Start a deployment that is well."""
    judged.role, judged.url, judged.healthy = role, judged.builder.url(role, None), True


@given(parsers.parse('a {role:w} with the defect "{defect}"'))
def have_defect(judged: Judged, role: str, defect: str) -> None:
    """Start a deployment that is well but for one thing."""
    judged.role, judged.url = role, judged.builder.url(role, defect)


@when("the gate judges it")
def judge(judged: Judged, tmp_path: Path) -> None:
    """Run the audits of its practice on it, and what is core if it is well, in a process of its own."""
    judged.judge(tmp_path, f'-m "{CHOSEN[judged.healthy]}"')


@when(parsers.parse("the gate judges it with {options}"))
def judge_by(judged: Judged, tmp_path: Path, options: str) -> None:
    """Run its practice, as far as options of pytest say, on it as on somebody's deployment, in a process of its own."""
    judged.judge(tmp_path, options)


@then(parsers.parse('its judgement is "{verdict}"'))
def check_verdict(judged: Judged, verdict: str) -> None:
    """Compare the verdict."""
    assert judged.report["verdict"] == verdict, f"{judged.report['verdict']}\n{judged.said}"


@then(parsers.parse('"{scenario}" fails and says "{cause}"'))
def check_reason(judged: Judged, scenario: str, cause: str) -> None:
    """Require that the scenario which should see the defect does, and names it."""
    failed = judged.failed()
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
    status = {record["id"].rpartition("::")[2]: record["status"] for record in judged.report["scenarios"]}
    wanted = [row["SCENARIO"] for row in rows(datatable, ("SCENARIO",))]
    assert {name: status.get(name) for name in wanted} == dict.fromkeys(wanted, "passed"), judged.said[-2000:]


@then(parsers.parse('it tells "{words}"'))
def check_told(judged: Judged, words: str) -> None:
    """Find words in what the run has said."""
    assert words in judged.said, judged.said


@then("these scenarios are skipped")
def check_skips(judged: Judged, datatable: Sequence[Sequence[str]]) -> None:
    """Compare the reasons of skips."""
    told = {record["id"].rpartition("::")[2]: record for record in judged.report["scenarios"]}
    for row in rows(datatable, ("SCENARIO", "REASON")):
        record = told[row["SCENARIO"]]
        assert (record["status"], row["REASON"] in (record["reason"] or "")) == ("skipped", True), record["reason"]
