"""Check manifests of Kubernetes for faults that no schema finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

HOUR = 3600


def pod_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the specification of the Pods that an object makes."""
    spec = document.get("spec", {})
    for step in {"CronJob": ("jobTemplate", "spec", "template", "spec"), "Job": ("template", "spec")}.get(
        document["kind"], ()
    ):
        spec = spec[step]
    return spec if "containers" in spec else None


def unsaid(document: dict[str, Any]) -> Iterator[str]:
    """Yield what no schema says: Kubernetes refuses the object, or runs it with more rights than it needs."""
    pod = pod_of(document)
    if pod is None:
        return
    job = document["spec"].get("jobTemplate", document).get("spec", {})
    if pod.get("restartPolicy", "Always") != "Never":
        yield "restartPolicy: a Job refuses Always, and a refused deployment would be judged again"
    if "completions" in job or "completionMode" in job:
        yield from _unsaid_of_judges(job, pod)
    elif document["kind"] != "Pod" and job.get("backoffLimit", 6) != 0:
        yield "backoffLimit: a refused deployment would be judged again"
    if pod.get("automountServiceAccountToken", True) or pod.get("enableServiceLinks", True):
        yield "the run needs neither the API of Kubernetes nor the addresses of Services"
    if not any("activeDeadlineSeconds" in one for one in (pod, job)):
        yield "activeDeadlineSeconds: a run that hangs would stay"
    for container in pod["containers"]:
        yield from _unsaid_of_rights({**pod.get("securityContext", {}), **container.get("securityContext", {})})
        yield from _unsaid_of_container(pod, container)


def _unsaid_of_rights(rights: dict[str, Any]) -> Iterator[str]:
    """Yield the rights that a run does not need."""
    wanted = {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    yield from (f"{name} is not {value}" for name, value in wanted.items() if rights.get(name) is not value)
    if rights.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities are not dropped"


def _unsaid_of_container(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with memory, volumes and secrets of a container."""
    memory = container.get("resources", {}).get("limits", {}).get("memory")
    if memory is None:
        yield "limits.memory: a run could take the memory of its node"
    elif 2 * _in_memory(pod) > _size(memory):
        yield "sizeLimit: files in memory may take half of limits.memory at most"
    volumes = {one["name"] for one in pod.get("volumes", ())}
    mounts = {one["mountPath"]: one["name"] for one in container.get("volumeMounts", ())}
    yield from (f"volume {name} does not exist" for name in mounts.values() if name not in volumes)
    yield from (f"{path} is not mounted, and the root is read-only" for path in {"/tmp", "/results"} - {*mounts})  # noqa: S108
    for one in container.get("env", ()):
        key = one.get("valueFrom", {}).get("secretKeyRef", {}).get("key", one["name"])
        if key != one["name"]:
            yield f"{one['name']} is read from the key {key} of the Secret, whose keys have the names of variables"


def _unsaid_of_judges(job: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a Job of several judges."""
    number, container = job.get("completions"), pod["containers"][0]
    told = next((one.get("value") for one in container["env"] if one["name"] == "JOB_COMPLETIONS"), None)
    rules = {rule["action"]: rule for rule in job.get("podFailurePolicy", {}).get("rules", ())}
    command = " ".join(container.get("command", ()))
    waits = [int(seconds) for seconds in re.findall(r"merge --wait (\d+)", command)]
    wrong = {
        "completionMode: a Pod without an index judges the whole deployment": job.get("completionMode") != "Indexed",
        "completions: an Indexed Job needs them": number is None,
        f"JOB_COMPLETIONS is {told}, and there are {number} indexes": told != str(number),
        "parallelism: the first judge would wait for judges that have not begun": job.get("parallelism") != number,
        "backoffLimitPerIndex: the failures of one judge would end all judges": "backoffLimitPerIndex" not in job,
        "podFailurePolicy: a drained node is no failure, and a refusal would be the same again": (
            rules.keys() != {"Ignore", "FailIndex"} or rules["FailIndex"]["onExitCodes"]["values"] != [1, 4]
        ),
        "podReplacementPolicy: two Pods would write into one folder": job.get("podReplacementPolicy") != "Failed",
        "ttlSecondsAfterFinished: the logs with the verdict would end with the Job, or each Job would stay": (
            job.get("ttlSecondsAfterFinished", 0) < HOUR
        ),
        "topologySpreadConstraints: no Pod of this Job is spread, or some wait for a node": not _is_spread(job, pod),
        "results: the parts of the judges meet in a PersistentVolumeClaim": (
            not any("persistentVolumeClaim" in one for one in pod["volumes"] if one["name"] == "results")
        ),
        "--report: parts of two runs, or of two judges, would be in one folder": (
            '--report "/results/$RUN/parts/$JOB_COMPLETION_INDEX"' not in command
        ),
        "merge --wait: the Job would end before the parts are joined": (
            not waits or waits[0] > job.get("activeDeadlineSeconds", 0) / 2
        ),
    }
    yield from (text for text, is_wrong in wrong.items() if is_wrong)


def _is_spread(job: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Tell whether the Pods of a Job are spread over nodes, where there are enough of them."""
    labels = job["template"].get("metadata", {}).get("labels", {})
    for spread in pod.get("topologySpreadConstraints", [{}]):
        chosen = spread.get("labelSelector", {}).get("matchLabels", {})
        if not chosen or not chosen.items() <= labels.items() or spread["whenUnsatisfiable"] != "ScheduleAnyway":
            return False
    return True


def _size(text: str) -> int:
    """Return the bytes of a quantity such as 256Mi."""
    number, unit = re.fullmatch(r"(\d+)(|Ki|Mi|Gi)", text).groups()  # type: ignore[union-attr]  # else a test fails
    return int(number) << 10 * ["", "Ki", "Mi", "Gi"].index(unit)


def _in_memory(pod: dict[str, Any]) -> int:
    """Return the bytes that files in memory may take; without a limit, more than any Pod has."""
    volumes = [one.get("emptyDir", {}) for one in pod.get("volumes", ())]
    return sum(_size(one.get("sizeLimit", "9999Gi")) for one in volumes if one.get("medium") == "Memory")


def claims_of_one_node(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the claims that Pods of several nodes cannot share."""
    for claim in (one for one in documents if one["kind"] == "PersistentVolumeClaim"):
        if claim["spec"]["accessModes"] != ["ReadWriteMany"]:
            yield f"accessModes: judges on other nodes would wait for {claim['metadata']['name']} until the deadline"


def missing_references(documents: list[dict[str, Any]], existing: set[str]) -> Iterator[str]:
    """Yield each Secret and ConfigMap that a Pod names and that neither is rendered nor exists."""
    made = {(one["kind"], one["metadata"]["name"]) for one in documents} | {("Secret", name) for name in existing}
    for pod in filter(None, map(pod_of, documents)):
        variables = [one.get("valueFrom", {}) for run in pod["containers"] for one in run["env"]]
        named = {("Secret", one["secretKeyRef"]["name"]) for one in variables if "secretKeyRef" in one}
        for volume in pod["volumes"]:
            named |= {("Secret", one["secretName"]) for name, one in volume.items() if name == "secret"}
            named |= {("ConfigMap", one["name"]) for name, one in volume.items() if name == "configMap"}
        yield from (f"{kind} {name} does not exist" for kind, name in sorted(named - made))
