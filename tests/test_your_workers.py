"""Test what a run shows of running workers: in each output, in few columns, without their secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fixtures import PROJECT
from fixtures.gate.commands import KEPT
from fixtures.gate.worker_scenes import Case, Program, staged
from fixtures.reporting.outputs import markdown, metrics, sarif
from fixtures.reporting.page.page import MOST_ROWS, render
from fixtures.reporting.plugin import MOST_WORKERS, worker_lines
from fixtures.reporting.report import LONGEST, Report, plain, subjects_of, workers_seen
from fixtures.run.processes import ForkingGroup
from redis_practices.celery_worker import control
from redis_practices.celery_worker.control import Answers, Mailbox, Requester
from redis_practices.celery_worker.queue_age import QueueSeen
from redis_practices.celery_worker.running import QUESTIONS, Fleet, look, read_workers
from redis_practices.polling import eventually
from redis_practices.servers.server import BROKER, Server, start_server
from tests.browser import OpenFile, check_legible

STATS = {
    "pool": {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 2, "timeouts": [50, 60]},
    "prefetch_count": 8,
    "total": {"shop.bill": 12},
    "pid": 7,
    "uptime": 7300,
    "rusage": {"maxrss": 50_000},
    "broker": {"transport_options": {"visibility_timeout": 7200, "password": "hunter2"}},
}
ACTIVE = [{"name": "shop.bill", "id": "1", "time_start": 966.0, "args": ["hunter2"], "delivery_info": {}}]


def seen(*nodes: str) -> Report:
    """Return the report of a run that has seen workers of these names, with two findings about the first one."""
    said = {
        "stats": STATS,
        "active": ACTIVE,
        "registered": ["shop.bill [acks_late=True]"],
        "active_queues": [{"name": "celery"}, {"name": "mail"}],
        "report": {"ok": "software -> celery:5.6.3 (x) kombu:5.7.0 py:3.12.1\nplatform -> password=hunter2"},
    }
    box = Mailbox()
    answers = Answers({node: dict(said) for node in nodes}, dict.fromkeys(nodes, 1))
    nothing: dict[str, Any] = {field.name: {} for field in fields(Fleet)}
    seen_now = {"workers": [*read_workers(box, answers)], "mailboxes": [box], "silent": 1, "now": 1000.0}
    seen_now |= {"queues": [QueueSeen("mail\x1b[31m", "", {0: 3}, {0: 90.0}, [], 0)], "messages": 9, "commands": 20}
    fleet = Fleet(**nothing | seen_now)
    broken: Any = {"status": "failed", "steps": [], "tags": [], "row": {}, "measurements": [], "line": 3, "feature": ""}
    found = [{"WORKER": plain(nodes[0]), "TASK": "shop.bill"}, {"QUEUE": plain("mail\x1b[31m"), "WAITING": "3"}]
    scenario = broken | {
        "id": "features/celery_worker/workers.feature::every task ends",
        "scenario_id": "celery-999",
        "practice": "celery_worker",
        "reason": "2 tasks without an end",
        "rule": "",
        "findings": found,
    }
    judged: Any = {"asked": 1, "of": 1, "addresses": {}, "nodes": {}, "practices": [], "quick": True, "selection": {}}
    judged |= {"options": [], "bounds": {}, "commands": 29}
    document: Any = {"suite": "1.0.0", "started": "2026-11-30T00:00:00+00:00", "seconds": 1.0, "stack": "external"}
    document |= {
        "engines": {},
        "verdict": "refused",
        "troubles": [],
        "scenarios": [scenario],
        "waivers": [],
        "open": [],
    }
    of_run: Report = document | {"judged": judged, "workers": workers_seen(fleet)}
    return of_run


def test_wide_terminal_has_a_table() -> None:
    """A wide terminal has a line for each worker; one with a fault is marked, and is the first."""
    document = seen("w9@h", "w1@h")
    lines = list(worker_lines(document, 160))
    assert lines[0] == ("your workers: 2 answered, 1 did not (9 control messages, 20 reads)", False)
    assert lines[1][0].split() == [
        *("WORKER", "APP", "POOL", "QUEUES", "PREFETCH", "LIMITS", "VISIBILITY", "UP", "DONE", "RUNNING", "WRONG")
    ]
    cells = "shop  prefork (2)  celery, mail  8         50 s / 60 s  7200 s      2 h  12    1 (shop.bill for 34 s)"
    queue = "queue mail\\x1b[31m: 3 waiting, the oldest for 90 s at least, read by none of the workers that answered"
    assert lines[2:] == [
        (f"  w9@h    {cells}  celery-999", True),
        (f"  w1@h    {cells}", False),
        (f"  {queue}, wrong celery-999", True),
    ]


def test_narrow_terminal_has_blocks() -> None:
    """A narrow terminal has the same in lines that fit."""
    lines = list(worker_lines(seen("w9@h", "w1@h"), 60))
    assert lines[1:5] == [
        ("  w9@h", True),
        ("    app shop; pool prefork (2); queues celery, mail;", True),
        ("    prefetch 8; limits 50 s / 60 s; visibility 7200 s; up 2", True),
        ("    h; done 12; running 1 (shop.bill for 34 s); wrong", True),
    ]
    assert all(len(line) < 60 for line, _ in lines if "queue mail" not in line and "your workers" not in line)


def test_many_workers_are_a_short_list() -> None:
    """A terminal has the first workers, and the number of further ones; report.json has all."""
    document = seen(*(f"w{number}@h" for number in range(100)))
    lines = [line for line, _ in worker_lines(document, 160)]
    assert sum("@h" in line for line in lines) == MOST_WORKERS
    assert f"  and {100 - MOST_WORKERS} more workers" in lines
    assert len(document["workers"]["workers"]) == 100


def test_names_are_user_data() -> None:
    """A name of any length and with any character is one printable line in each output."""
    hostile = "<b>w|1`@h\x1b[2J\n::error::x\ud800" + "y" * 100_000
    document = seen(hostile)
    for text in (*(line for line, _ in worker_lines(document, 80)), *markdown(document).splitlines()):
        assert text.isprintable()
        assert len(text) < 6 * LONGEST
    assert "&lt;b&gt;w\\|1\\`" in markdown(document)
    assert "\x1b" not in metrics(document) + sarif(document, "") + json.dumps(document, ensure_ascii=False)
    assert len(json.dumps(document, ensure_ascii=False).encode()) < 40 * LONGEST


def test_page_links_each_fault() -> None:
    """The page has a row for each worker; one with a fault is red, and links to the failed scenario."""
    page = render(seen("<b>w9@h", *(f"w{number}@h" for number in range(30))), [], [], {}, PROJECT)
    assert page.count('<tr class="wrong">') == 2
    assert page.count('<a href="#celery-999">') == 1 + 2  # the list of failed scenarios, a worker, a queue
    assert "task: shop.bill" in page
    assert f"<summary>{31 - MOST_ROWS} more workers</summary>" in page
    assert "&lt;b&gt;w9@h" in page
    assert "<b>w9" not in page
    assert "\x1b" not in page


def test_page_has_the_first_queues() -> None:
    """Of a thousand queues the page has those with a fault and the fullest; report.json has all."""
    document = seen("w9@h")
    [queue] = document["workers"]["queues"]
    idle = [queue | {"name": f"idle{number}", "waiting": 0} for number in range(1000)]
    document["workers"]["queues"] = [*idle, queue | {"name": "full", "waiting": 2}, queue]
    page = render(document, [], [], {}, PROJECT)
    assert page.index("mail\\x1b[31m</th>") < page.index("full</th>") < page.index("idle0</th>")
    assert page.count('data-title="queue"') == MOST_ROWS
    assert f"and {1002 - MOST_ROWS} more queues, in report.json" in page


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_of_workers_is_legible(open_file: OpenFile, tmp_path: Path, width: int, scheme: str) -> None:
    """Long names fit a narrow screen and a wide one, and each text has enough contrast."""
    document = seen(*(f"worker{number}@{'a-long-host-name-' * 4}.example" for number in range(30)))
    page = tmp_path / "index.html"
    page.write_text(render(document, [], [], {}, PROJECT), encoding="utf-8")
    check_legible(open_file(page, width, scheme))


def test_prometheus_has_what_an_alert_needs() -> None:
    """metrics.prom has the workers, the broken promises of each, and the tasks of each queue."""
    families = text_string_to_metric_families(metrics(seen("w9@h", "w1@h")))
    samples = {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
    assert samples["redis_practices_workers", "yes"] == 2
    assert samples["redis_practices_workers", "no"] == 1
    assert samples["redis_practices_worker_broken_promises", "w9@h"] == 1
    assert samples["redis_practices_worker_broken_promises", "w1@h"] == 0
    assert samples["redis_practices_queue_tasks", "mail\\x1b[31m"] == 3


def test_sarif_names_workers_and_queues() -> None:
    """A result in SARIF has the worker and the queue as logical locations."""
    [result] = json.loads(sarif(seen("w9@h"), "practices.toml"))["runs"][0]["results"]
    [place] = result["locations"]
    assert [one["name"] for one in place["logicalLocations"]] == ["w9@h", "mail\\x1b[31m"]


def test_finding_may_name_a_worker_in_a_text() -> None:
    """Each node that a finding names is a subject of it, and so is the queue with its key prefix."""
    finding = {"WORKER": "w1@h, w2@h and 3 more discard it", "QUEUE": "app:mail", "TASK": "shop.bill"}
    assert [*subjects_of(finding)] == [("WORKER", "w1@h"), ("WORKER", "w2@h"), ("QUEUE", "app:mail")]
    assert [*subjects_of({"WORKER": "none", "KEYS": "celery-task-meta-*"})] == []


def test_waived_failure_is_not_wrong() -> None:
    """A waived failure marks no worker on a terminal, in the summary, or for an alert."""
    document = seen("w9@h")
    document["scenarios"][0]["status"] = "waived"
    assert not any(is_wrong for _, is_wrong in worker_lines(document, 160))
    assert "| celery-999 |" not in markdown(document)
    assert 'redis_practices_worker_broken_promises{worker="w9@h"} 0' in metrics(document)


def test_run_without_workers_says_nothing_of_them() -> None:
    """A run without ``--workers`` has no table, no section and no metric."""
    document = seen("w9@h")
    del document["workers"]
    assert list(worker_lines(document, 80)) == []
    assert "Your workers" not in markdown(document)
    assert "redis_practices_worker" not in metrics(document)


APP = """\
from celery import Celery
from kombu import Queue

class Odd:
    def __repr__(self):
        return "<Odd secret=hunter2>"

app = Celery("shop", broker={url!r})
app.conf.update(
    result_backend="redis://:hunter2@127.0.0.1:1/0",
    task_ignore_result=True,
    broker_transport_options={{"my_option": "hunter2", "sentinel_kwargs": {{"password": "hunter2"}}}},
    beat_schedule={{"nightly": {{"task": "shop.wait", "schedule": 3600, "args": ["hunter2"]}}}},
    task_routes={{"shop.other": {{"queue": "celery", "headers": {{"token": "hunter2"}}}}}},
    task_queues=[Queue("celery", queue_arguments={{"x-secret": "hunter2"}})],
    task_annotations={{"shop.other": {{"note": "hunter2"}}}},
    worker_log_format="hunter2 %(message)s",
    shop_password="hunter2",
    shop_object=Odd(),
)

@app.task(name="shop.wait")
def wait(seconds, note, card=None):
    import time
    time.sleep(seconds)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Server]:
    """Give a broker with a worker whose answers hold a secret in more than ten places."""
    with ForkingGroup() as group:
        broker = start_server(group, BROKER)
        (tmp_path / "shop.py").write_text(APP.format(url=broker.url), encoding="utf-8")
        words = [*("-A", "shop", "worker", "-c", "1", "-n", "<b>w1&@h", "-l", "warning")]
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}"}
        group.start_python("celery", words, tmp_path / "worker.log", cwd=tmp_path, env=environment)
        send = "import shop; [shop.wait.apply_async((60, 'hunter2'), {'card': 'hunter2'}, **o) for o in "
        send += "({}, {}, {'countdown': 600}, {'queue': 'other'})]"
        subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=30)
        with broker.client() as client, Requester(client, [Mailbox()]) as requester:

            def answered() -> None:
                said = requester.ask(QUESTIONS)[Mailbox()].by_node.values()
                assert any(one.get("active") and one.get("reserved") and one.get("scheduled") for one in said)
                assert json.dumps(list(said)).count("hunter2") > 10

            eventually(answered, 30)
        yield broker


def judging(url: str, folder: Path) -> subprocess.Popen[str]:
    """Start the command that judges the workers of a broker."""
    command = [*(sys.executable, "-m", "redis_practices", "--broker-url", url, "--workers", "--report", "out")]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"PYTHONPATH": str(PROJECT / "src"), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [*command, "--", "-m", "workers"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended_with(command: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Return the output and the exit code of a command (TimeoutExpired after 120 s)."""
    said, errors = command.communicate(timeout=120)
    return subprocess.CompletedProcess(command.args, command.returncode, said, errors)


@pytest.mark.slow
def test_no_output_has_a_secret(worker: Server, tmp_path: Path) -> None:
    """No output and no file has what the answers of workers hold: arguments, passwords, other settings."""
    ended = ended_with(judging(worker.url, tmp_path))
    assert "your workers: 1 answered" in ended.stdout
    files = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert len(files) == 8
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    texts |= {"output": ended.stdout, "errors": ended.stderr}
    assert [name for name, text in texts.items() if "hunter2" in text] == []
    assert "<b>w1" not in texts["index.html"]
    assert "&lt;b&gt;w1&amp;@h" in texts["index.html"]
    [kept] = json.loads(texts["report.json"])["workers"]["workers"]
    assert (kept["node"], kept["running"], kept["waiting"], kept["later"]) == ("<b>w1&@h", 1, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_within_the_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A run that ends while a worker does not answer has one line and exit code 2, and leaves no list or name."""
    solo = Program(flags="-P solo --without-mingle --without-gossip")
    with ForkingGroup() as group:
        broker = start_server(group, BROKER)
        with staged(Case("", (solo,)), broker.url) as scene:
            scene.heard(1)
            kept = {*scene.client.keys("*")}
            scene.stop(0, signal.SIGSTOP)
            command = judging(broker.url, tmp_path)
            eventually(lambda: bool(scene.client.exists(Mailbox().replies)), 60)
            command.send_signal(number)
            ended = ended_with(command)
            scene.stop(0, signal.SIGCONT)
            scene.heard(1)
            if number == signal.SIGKILL:
                monkeypatch.setattr(control, "FORGOTTEN", -1.0)
                look(scene.client, listen=0)
            assert {*scene.client.keys("*")} == kept
    assert ended.returncode == (-number if number == signal.SIGKILL else 2)
    assert "Traceback" not in ended.stderr
    said = {
        signal.SIGINT: ": interrupted",
        signal.SIGTERM: ": stopped by SIGTERM",
        signal.SIGKILL: "",
    }
    assert said[signal.Signals(number)] in ended.stdout
    assert "fixtures" not in ended.stdout
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["verdict"] == "error"


@pytest.mark.slow
def test_full_broker_is_no_error_of_the_run(tmp_path: Path) -> None:
    """A broker that takes no writes skips the scenarios of workers, with its reason; alone they give no verdict."""
    with ForkingGroup() as group:
        broker = start_server(group, {**BROKER, "maxmemory": 1})
        ended = ended_with(judging(broker.url, tmp_path))
    assert "workers: not asked: " in ended.stdout
    assert "refuses the questions to its workers: command not allowed when used memory" in ended.stdout
    assert (ended.returncode, "no scenario ran" in ended.stdout) == (5, True)
