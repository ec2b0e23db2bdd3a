"""Test the Helm chart and the manifests: rendered by Helm's engine, and validated by the schemas of Kubernetes."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import PROJECT
from tests.helm_engine import ChartError, ask
from tests.manifest_rules import claims_of_one_node, missing_references, pod_of, unsaid

pytestmark = pytest.mark.slow  # `.ci/run package` runs them

WHY = "it is in requirements-dev.txt"
if find_spec("helm_python") is None:
    pytest.skip(f"helm-python-sdk renders the chart; {WHY}", allow_module_level=True)
schemas: Any = pytest.importorskip("kubernetes_validate", reason=f"kubernetes-validate has the schemas; {WHY}")

CHART = PROJECT / "charts" / "redis-practices"
VALUES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CHART.glob("ci/*.yaml"))}
"""The values that the chart is tested with, here and by ``helm`` in the workflow."""

OLDEST = "1.29"
"""The oldest Kubernetes that the manifests are validated against; the newest is that of kubernetes-validate."""

WARNING = 2
"""The severity of a linter's message from which on it counts."""


def rendered(chart: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that ``helm template practices`` prints for `values`."""
    texts = ask(chart, values, lint=False)
    found = [text for name, text in texts.items() if not name.endswith("NOTES.txt")]
    return [one for text in found for one in yaml.safe_load_all(text) if one]


def refused_by_schema(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the schemas of the oldest and the newest Kubernetes say against an object."""
    for version in (OLDEST, schemas.latest_version()):
        try:
            schemas.validate(document, version, strict=True)
        except schemas.SchemaNotFoundError as error:  # the command line only warns of it
            yield error.message
        except schemas.ValidationError as error:
            yield error.message


def problems(chart: Path, values: dict[str, Any]) -> list[str]:
    """Return what linter, engine, schemas and the checks above say against a chart with `values`."""
    try:
        found = [one["error"] for one in ask(chart, values, lint=True) if one["severity"] >= WARNING]
    except ChartError as error:
        return [str(error)]
    try:
        documents = rendered(chart, values)
    except (ChartError, yaml.YAMLError) as error:
        return [*found, str(error)]
    for document in documents:
        found += [*refused_by_schema(document), *unsaid(document)]
    existing = {values.get(name, "") for name in ("existingSecret", "certificates")}
    return [*found, *missing_references(documents, existing)]


@pytest.mark.parametrize("name", VALUES)
def test_chart_is_valid(name: str) -> None:
    """The chart has no problem with the values of `name`, and makes the Pod of ``helm test``."""
    assert problems(CHART, VALUES[name]) == []
    [test] = [one for one in rendered(CHART, VALUES[name]) if "annotations" in one["metadata"]]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert test["kind"] == ("Job" if "judges" in VALUES[name] else "Pod")


def problems_of_manifest(text: str) -> list[str]:
    """Return what schemas and the checks above say against a manifest."""
    documents = list(yaml.safe_load_all(text))
    found = [one for document in documents for one in (*refused_by_schema(document), *unsaid(document))]
    return [*found, *claims_of_one_node(documents)]


EXAMPLES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(PROJECT.glob("examples/kubernetes*.yaml"))}


@pytest.mark.parametrize("name", EXAMPLES)
def test_manifest_is_valid(name: str) -> None:
    """Each manifest of the examples is valid."""
    assert problems_of_manifest(EXAMPLES[name]) == []


def test_one_judge_is_the_same_now_and_every_night() -> None:
    """The Pod of the CronJob is that of the Job, and a Pod of several judges has the same rights and volumes."""
    now, night, judges = (
        pod_of(list(yaml.safe_load_all(EXAMPLES[f"kubernetes{name}"]))[-1]) or {}
        for name in ("", "-cronjob", "-judges")
    )
    assert now == night
    assert now["securityContext"] == judges["securityContext"]
    alike = ("securityContext", "volumeMounts", "image", "resources")
    assert [now["containers"][0][name] for name in alike] == [judges["containers"][0][name] for name in alike]


FAULTS = tomllib.loads((PROJECT / "tests/cases/kubernetes_faults.toml").read_text(encoding="utf-8"))["fault"]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault["name"] for fault in FAULTS])
def test_fault_is_found(fault: dict[str, str]) -> None:
    """A fault that Kubernetes users met is found in the manifest of several judges."""
    sound = EXAMPLES["kubernetes-judges"]
    assert fault["sound"] in sound
    found = problems_of_manifest(sound.replace(fault["sound"], fault["broken"]))
    assert any(fault["found"] in one for one in found), found


def test_chart_runs_judges_like_the_example() -> None:
    """The Job of the chart has the script, the limits of failures and the spread of the example."""
    [_, example] = yaml.safe_load_all(EXAMPLES["kubernetes-judges"])
    [job] = [one for one in rendered(CHART, {**VALUES["judges"], "deadlineSeconds": 1800}) if one["kind"] == "Job"]
    assert job["spec"].keys() == example["spec"].keys()
    alike = [name for name in job["spec"] if name != "template"]
    assert [job["spec"][name] for name in alike] == [example["spec"][name] for name in alike]
    commands = [(pod_of(one) or {})["containers"][0]["command"] for one in (job, example)]
    assert commands[0] == commands[1]


def test_only_given_roles_are_judged() -> None:
    """The chart's Secret has the URLs that are given; an existing Secret is used in its place."""
    [secret] = [one for one in rendered(CHART, VALUES["one-role"]) if one["kind"] == "Secret"]
    assert secret["stringData"] == {"CACHE_URL": "redis://:secret@cache.example:6379/0"}
    [secret] = [one for one in rendered(CHART, VALUES["all-roles"]) if one["kind"] == "Secret"]
    assert secret["stringData"].keys() == {"CACHE_URL", "CLUSTER_URL", "BROKER_URL", "RESULTS_URL"}
    scheduled = rendered(CHART, VALUES["scheduled"])
    assert {one["kind"] for one in scheduled} == {"Pod", "CronJob", "ConfigMap"}
    for pod in filter(None, map(pod_of, scheduled)):
        given = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in pod["containers"][0]["env"]}
        assert given == {
            f"{role}_URL": {"name": "redis-urls", "key": f"{role}_URL", "optional": True}
            for role in ("BROKER", "CACHE", "CLUSTER", "RESULTS")
        }


def test_schedule_and_test_run_the_same() -> None:
    """The Pod of the CronJob is that of ``helm test``, and reads practices.toml as it was given."""
    documents = {one["kind"]: one for one in rendered(CHART, VALUES["scheduled"])}
    assert pod_of(documents["CronJob"]) == pod_of(documents["Pod"])
    bounds = tomllib.loads(documents["ConfigMap"]["data"]["practices.toml"])
    assert bounds == tomllib.loads(VALUES["scheduled"]["practices"])


def test_versions_are_one() -> None:
    """The chart and its image have the version of the project."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert [chart["version"], chart["appVersion"]] == [project["version"]] * 2
    job = (PROJECT / "examples/kubernetes.yaml").read_text(encoding="utf-8")
    assert f":{project['version']} " in job


HELPERS, TEST, CRON, SETTINGS = (
    f"templates/{name}" for name in ("_helpers.tpl", "test.yaml", "cronjob.yaml", "configuration.yaml")
)
DEFECTS = (
    (HELPERS, "restartPolicy: Never", "restartPolicy: Always", "restartPolicy"),
    (HELPERS, "restartPolicy: Never", "restart: Never", "Additional properties are not allowed"),
    (HELPERS, "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot is not True"),
    (HELPERS, "readOnlyRootFilesystem: true", "privileged: false", "readOnlyRootFilesystem is not True"),
    (HELPERS, "capabilities: {drop: [ALL]}", "capabilities: {add: [SYS_ADMIN]}", "capabilities are not dropped"),
    (HELPERS, "automountServiceAccountToken: false", "hostNetwork: true", "the API of Kubernetes"),
    (HELPERS, "- {name: tmp, mountPath: /tmp}", "", "is not mounted, and the root"),
    (HELPERS, "- name: tmp\n", "- name: temp\n", "volume tmp does not exist"),
    (HELPERS, "activeDeadlineSeconds: {{ .Values.deadlineSeconds }}", "", "a run that hangs"),
    (HELPERS, "secretKeyRef: {name: ", "secretKeyRef: {name: other-", "Secret other-redis-urls does not exist"),
    (HELPERS, "configMap: {name: ", "configMap: {name: other-", "ConfigMap other-practices-redis-practices"),
    (HELPERS, "toYaml .Values.resources", "toYaml .Values.podLabels", "limits.memory"),
    (HELPERS, "nindent 6 }}\n    env:", "nindent 2 }}\n    env:", "mapping values are not allowed"),
    (HELPERS, ".Values.deadlineSeconds", ".Values.deadline.seconds", "nil pointer"),
    (HELPERS, "backoffLimit: 0", "completionMode: Indexed", "an Indexed Job needs them"),
    (HELPERS, "backoffLimit: 0", "parallelism: 1", "backoffLimit"),
    (CRON, "apiVersion: batch/v1", "apiVersion: batch/v1beta1", "Couldn't find schema for kind CronJob"),
    (CRON, "concurrencyPolicy", "concurrency", "Additional properties are not allowed"),
    (SETTINGS, "kind: ConfigMap", "kind: Configuration", "Couldn't find schema for kind Configuration"),
    (TEST, "metadata:\n", "name: x\nmetadata:\n", "Additional properties are not allowed"),
    ("Chart.yaml", "\nversion: ", "\nversion: one.", "version"),
)
"""Defects of the chart: file, text, the text in its place, and words of the problem that must be found."""


@pytest.mark.parametrize(
    ("file", "sound", "broken", "words"), DEFECTS, ids=[f"{sound!r} is {broken!r}" for _, sound, broken, _ in DEFECTS]
)
def test_defect_is_found(tmp_path: Path, file: str, sound: str, broken: str, words: str) -> None:
    """A defect in the chart is a problem with these words."""
    chart = tmp_path / "redis-practices"
    shutil.copytree(CHART, chart)
    text = (chart / file).read_text(encoding="utf-8")
    assert sound in text
    (chart / file).write_text(text.replace(sound, broken), encoding="utf-8")
    found = problems(chart, VALUES["scheduled"])
    assert any(words in one for one in found), found


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "there is nothing to judge: give existingSecret, or urls.cache"),
    ({"urls": {"cache": "redis://a"}}, "image.repository is needed"),
    ({"existingSecret": "a", "urls": {"cache": "redis://a"}}, "give one of them"),
    ({"image": {"repositry": "a"}}, "'repositry' not allowed"),
    ({"url": {"cache": "redis://a"}}, "'url' not allowed"),
    ({"urls": {"cash": "redis://a"}}, "'cash' not allowed"),
    ({"cronjob": {"schedule": "nightly"}}, "'nightly' does not match"),
    ({"deadlineSeconds": "15m"}, "at '/deadlineSeconds'"),
    ({"judges": 0}, "at '/judges'"),
    ({"image": {"repository": "a"}, "existingSecret": "a", "judges": 8}, "several of them need resultsClaim"),
)
"""Wrong values and the words of their refusal."""


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[json.dumps(values) for values, _ in WRONG])
def test_wrong_values_are_refused(values: dict[str, Any], words: str) -> None:
    """Wrong values end the installation with a line that says what to give."""
    with pytest.raises(ChartError) as refused:
        rendered(CHART, values)
    assert words in str(refused.value)


def test_wrong_url_is_not_shown() -> None:
    """A refusal of values shows no URL, which may hold a password."""
    with pytest.raises(ChartError) as refused:
        rendered(CHART, {"urls": {"cache": ["redis://:secret@cache.example"]}})
    assert "secret@" not in str(refused.value)
