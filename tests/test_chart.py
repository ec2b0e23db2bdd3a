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


def pod_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the specification of the Pods that an object makes."""
    spec = document.get("spec", {})
    for step in {"CronJob": ("jobTemplate", "spec", "template", "spec"), "Job": ("template", "spec")}.get(
        document["kind"], ()
    ):
        spec = spec[step]
    return spec if "containers" in spec else None


def refused_by_schema(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the schemas of the oldest and the newest Kubernetes say against an object."""
    for version in (OLDEST, schemas.latest_version()):
        try:
            schemas.validate(document, version, strict=True)
        except schemas.SchemaNotFoundError as error:  # the command line only warns of it
            yield error.message
        except schemas.ValidationError as error:
            yield error.message


def unsaid(document: dict[str, Any]) -> Iterator[str]:
    """Yield what no schema says: Kubernetes refuses the object, or runs it with more rights than it needs."""
    pod = pod_of(document)
    if pod is None:
        return
    job = document["spec"].get("jobTemplate", document).get("spec", {})
    if pod.get("restartPolicy", "Always") != "Never":
        yield "restartPolicy: a Job refuses Always, and a refused deployment would be judged again"
    if document["kind"] != "Pod" and job.get("backoffLimit", 6) != 0:
        yield "backoffLimit: a refused deployment would be judged again"
    if job.get("completionMode") == "Indexed" and "completions" not in job:
        yield "completions: an Indexed Job needs them"
    if pod.get("automountServiceAccountToken", True) or pod.get("enableServiceLinks", True):
        yield "the run needs neither the API of Kubernetes nor the addresses of Services"
    if not any("activeDeadlineSeconds" in one for one in (pod, job)):
        yield "activeDeadlineSeconds: a run that hangs would stay"
    volumes = {one["name"] for one in pod.get("volumes", ())}
    for container in pod["containers"]:
        rights = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        wanted = {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
        yield from (f"{name} is not {value}" for name, value in wanted.items() if rights.get(name) is not value)
        if rights.get("capabilities") != {"drop": ["ALL"]}:
            yield "capabilities are not dropped"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield "limits.memory: a run could take the memory of its node"
        mounts = {one["mountPath"]: one["name"] for one in container.get("volumeMounts", ())}
        yield from (f"volume {name} does not exist" for name in mounts.values() if name not in volumes)
        yield from (f"{path} is not mounted, and the root is read-only" for path in {"/tmp", "/results"} - {*mounts})  # noqa: S108


def missing_references(documents: list[dict[str, Any]], existing: set[str]) -> Iterator[str]:
    """Yield each Secret and ConfigMap that a Pod names and that neither is rendered nor exists."""
    made = {(one["kind"], one["metadata"]["name"]) for one in documents} | {("Secret", name) for name in existing}
    for pod in filter(None, map(pod_of, documents)):
        named = {("Secret", one["secretRef"]["name"]) for run in pod["containers"] for one in run["envFrom"]}
        for volume in pod["volumes"]:
            named |= {("Secret", one["secretName"]) for name, one in volume.items() if name == "secret"}
            named |= {("ConfigMap", one["name"]) for name, one in volume.items() if name == "configMap"}
        yield from (f"{kind} {name} does not exist" for kind, name in sorted(named - made))


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
    [test] = [one for one in rendered(CHART, VALUES[name]) if one["kind"] == "Pod"]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"


@pytest.mark.parametrize("path", sorted(PROJECT.glob("examples/kubernetes*.yaml")), ids=lambda path: path.name)
def test_manifest_is_valid(path: Path) -> None:
    """Each manifest of the examples is valid, and its Pod is the same in all of them."""
    [document] = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    assert [*refused_by_schema(document), *unsaid(document)] == []
    job = yaml.safe_load((PROJECT / "examples/kubernetes.yaml").read_text(encoding="utf-8"))
    assert pod_of(document) == pod_of(job)


def test_only_given_roles_are_judged() -> None:
    """The chart's Secret has the URLs that are given; an existing Secret is used in its place."""
    [secret] = [one for one in rendered(CHART, VALUES["one-role"]) if one["kind"] == "Secret"]
    assert secret["stringData"] == {"CACHE_URL": "redis://:secret@cache.example:6379/0"}
    [secret] = [one for one in rendered(CHART, VALUES["all-roles"]) if one["kind"] == "Secret"]
    assert secret["stringData"].keys() == {"CACHE_URL", "CLUSTER_URL", "BROKER_URL", "RESULTS_URL"}
    scheduled = rendered(CHART, VALUES["scheduled"])
    assert {one["kind"] for one in scheduled} == {"Pod", "CronJob", "ConfigMap"}
    names = [pod["containers"][0]["envFrom"] for pod in filter(None, map(pod_of, scheduled))]
    assert names == [[{"secretRef": {"name": "redis-urls"}}]] * 2


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
    (HELPERS, "secretRef: {name: ", "secretRef: {name: other-", "Secret other-redis-urls does not exist"),
    (HELPERS, "configMap: {name: ", "configMap: {name: other-", "ConfigMap other-practices-redis-practices"),
    (HELPERS, "toYaml .Values.resources", "toYaml .Values.podLabels", "limits.memory"),
    (HELPERS, "nindent 6 }}\n    envFrom", "nindent 2 }}\n    envFrom", "mapping values are not allowed"),
    (HELPERS, ".Values.deadlineSeconds", ".Values.deadline.seconds", "nil pointer"),
    (CRON, "backoffLimit: 0", "completionMode: Indexed", "an Indexed Job needs them"),
    (CRON, "backoffLimit: 0", "", "backoffLimit"),
    (CRON, "apiVersion: batch/v1", "apiVersion: batch/v1beta1", "Couldn't find schema for kind CronJob"),
    (CRON, "concurrencyPolicy", "concurrency", "Additional properties are not allowed"),
    (SETTINGS, "kind: ConfigMap", "kind: Configuration", "Couldn't find schema for kind Configuration"),
    (TEST, "kind: Pod", "kind: Pod\nname: x", "Additional properties are not allowed"),
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
