"""Running workers are asked without a trace, and a hostile answer does no harm."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, OutOfMemoryError

from fixtures import PROJECT
from fixtures.gate.worker_scenes import Case, Program, staged
from fixtures.run.processes import ForkingGroup
from gate_user import WORKERS, rules
from redis_practices.celery_worker import control, queue_age
from redis_practices.celery_worker.control import SEP, Answers, Mailbox, Requester, mailboxes, sweep
from redis_practices.celery_worker.fleet_audit import stuck
from redis_practices.celery_worker.queue_age import Broker
from redis_practices.celery_worker.queue_audit import absent, doubt, unanswered_probes, unread
from redis_practices.celery_worker.running import QUESTIONS, hidden, look, read_workers, told_apart
from redis_practices.celery_worker.worker_audit import Unknown
from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.servers.celery import start_worker
from redis_practices.servers.server import BROKER, Server, start_server
from redis_practices.tuning.measuring import latency_proxy


@pytest.fixture(scope="module")
def group() -> Iterator[ForkingGroup]:
    """Give the processes of this module."""
    with ForkingGroup() as made:
        yield made


@pytest.fixture(scope="module")
def broker(group: ForkingGroup) -> Server:
    """Give a broker with one worker that answers."""
    server = start_server(group, BROKER)
    start_worker(group, server.url, environment={"WORKER_CONCURRENCY": "1"})
    with server.client() as client:
        eventually(lambda: bool(look(client, listen=0).workers), 20)
    return server


@pytest.fixture
def client(broker: Server) -> Iterator[Redis]:
    """Give a client of the broker."""
    with broker.client() as made:
        yield made


class Evil:
    """Writes a file when it is unpickled by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Call os.system."""
        return os.system, (f"touch {self.path}",)


def answer(body: bytes, /, kind: str = "application/json", ticket: object = "ping", **changes: object) -> str:
    """Return a message like a worker's answer."""
    message = {
        "body": base64.b64encode(body).decode(),
        "content-type": kind,
        "headers": {"ticket": ticket},
        "properties": {"body_encoding": "base64"},
        **changes,
    }
    return json.dumps(message)


TASK = control.envelope([[], {}, {}], {"task": "shop.mail", "id": "1"}, "", "mail")
"""A message of Celery."""

PICKLED = "application/x-python-serialize"


def test_pickled_answer_imports_nothing(tmp_path: Path) -> None:
    """A pickle with a call of os.system calls nothing; a Counter and a tuple are read."""
    answers, file = Answers(receivers=2), tmp_path / "harm"
    answers.keep(answer(pickle.dumps({"w1@h": {"total": Evil(file)}}), PICKLED, "stats"), "ping")
    answers.keep(answer(pickle.dumps({"w1@h": {"total": Counter(a=2), "timeouts": (1, 2)}}), PICKLED, "stats"), "ping")
    assert not file.exists()
    assert answers.by_node["w1@h"]["stats"] == {"total": {"a": 2}, "timeouts": (1, 2)}
    assert answers.pickled == {"w1@h"}


HOSTILE: dict[str, str | bytes] = {
    "no JSON": "nonsense",
    "no UTF-8": b"\xff\xfe\x00",
    "no envelope": "[1, 2]",
    "wrong base64": answer(b"{}", body="%%%"),
    "a list for a dict": answer(b'["w1@h"]'),
    "a number": answer(b"7"),
    "null": answer(b"null"),
    "deep nesting": answer(b"[" * 100_000),
    "cut pickle": answer(pickle.dumps({"w1@h": 1})[:-3], PICKLED),
    "pickle of a list": answer(pickle.dumps([1]), PICKLED),
    "pickle with an empty stack": answer(b".", PICKLED),
    "pickle of a persistent id": answer(b"Pnowhere\n.", PICKLED),
    "pickle of a huge length": answer(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", PICKLED),
    "pickle of a name with a null": answer(b"\x80\x04\x8c\x01a\x8c\x02b\x00\x93.", PICKLED),
    "another serializer": answer(b"w1@h: pong", "application/x-yaml"),
}
"""Messages that each client of a server can push into a list for answers."""


@pytest.mark.parametrize("message", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_message_is_counted_and_dropped(message: str | bytes) -> None:
    """A message that is no answer is no error, and no node."""
    answers = Answers(receivers=1)
    answers.keep(message, "ping")
    assert not answers.by_node


WRONG: dict[str, object] = {
    "stats of numbers": {"stats": 7},
    "pool of text": {"stats": {"pool": "prefork"}},
    "infinite prefetch": {"stats": {"prefetch_count": float("inf")}},
    "totals of text": {"stats": {"total": {"a": "many"}}},
    "tasks without a name": {"stats": {}, "active": [7]},
    "queues without a name": {"stats": {}, "active_queues": [{}]},
    "conf of text": {"stats": {}, "conf": "disabled"},
    "an error": {"stats": {"error": "no"}},
    "half a character": {
        **{name: {} if name in {"conf", "stats"} else [] for name, _ in QUESTIONS},
        "active_queues": [{"name": "\ud800"}],
    },
}


@pytest.mark.parametrize("said", WRONG.values(), ids=list(WRONG))
def test_wrong_forms_are_no_error(said: dict[str, Any]) -> None:
    """An answer of another form than Celery's makes no worker, or one that did not hear every question."""
    answers = Answers(receivers=1)
    for question, value in said.items():
        answers.keep(answer(json.dumps({"w\x1b[31m1@h": value}).encode(), ticket=question), "ping")
    assert not any(worker.hears for worker in read_workers(Mailbox(), answers))


def test_worker_with_another_command_is_seen() -> None:
    """A worker whose command ``active`` is one of its app is a worker that did not hear every question."""
    answers = Answers(receivers=1)
    for question, value in {"stats": {}, "active": "disabled"}.items():
        answers.keep(answer(json.dumps({"w1@h": value}).encode(), ticket=question), "ping")
    assert [worker.hears for worker in read_workers(Mailbox(), answers)] == [False]


def test_separator_is_found() -> None:
    """The option sep of the workers is read from the bindings; the default is kombu's."""
    members = ["::w1@h.celery.pidbox", "::w2@h.celery.pidbox"]
    assert Mailbox().with_sep(members).sep == ":"
    assert Mailbox().with_sep([]).sep == SEP
    box = Mailbox().with_sep([f"{SEP}{SEP}w1@h.celery.pidbox"])
    assert (box.sep, box.nodes_in([f"{SEP}{SEP}w1@h.celery.pidbox"])) == (SEP, ["w1@h"])


def test_mailboxes_of_all_apps() -> None:
    """Prefix and control exchange are read from the names of keys; other bindings are no mailbox."""
    keys = ["_kombu.binding.celery.pidbox", "shop:_kombu.binding.shop.pidbox", "_kombu.binding.celery"]
    keys += ["_kombu.binding.reply.celery.pidbox", "shop:_kombu.binding.mail"]
    assert mailboxes(keys, 3) == [Mailbox("", 3, "celery"), Mailbox("shop:", 3, "shop")]


def ours(client: Redis) -> list[str]:
    """Return the keys and the members of sets that a round has written."""
    members = [
        str(one) for key in client.keys("*reply*pidbox") if client.type(key) == "set" for one in client.smembers(key)
    ]
    return [name for name in (*map(str, client.keys("*")), *members) if control.MARK in name]


def test_round_leaves_nothing(client: Redis) -> None:
    """After a look the broker has the keys of before, and no message in a queue."""
    before = set(client.keys("*"))
    fleet = look(client, listen=0)
    assert len(fleet.workers) == 1
    assert fleet.messages == len(QUESTIONS)
    assert set(client.keys("*")) == before
    assert not ours(client)


def test_further_answers_are_deleted(client: Redis) -> None:
    """Answers that no question was for are deleted at the end of a round."""
    with Requester(client, [Mailbox()]) as requester:
        requester.ask([("ping", {})])
        name = str(next(iter(client.smembers(Mailbox().replies)))).split(SEP)[-1]
        client.rpush(name, "strange")
        assert client.exists(name)
    assert not ours(client)


def test_killed_requester_is_cleaned_up(client: Redis, broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a requester leaves that was killed within a round is removed by a later look, and not before."""
    code = (
        "import os, signal\nfrom redis import Redis\nfrom redis_practices.celery_worker import control\n"
        f"one = control.Requester(Redis.from_url({broker.url!r}), [control.Mailbox()])\n"
        "one._pop = lambda seconds: os.kill(os.getpid(), signal.SIGKILL)\n"
        "one.ask([('ping', {}), ('stats', {})])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env=environment)
    assert ended.returncode == -signal.SIGKILL
    eventually(lambda: len(ours(client)) == 2, 10)
    look(client, listen=0)
    assert len(ours(client)) == 2
    monkeypatch.setattr(control, "FORGOTTEN", -1.0)
    sweep(client, map(str, client.keys("*.pidbox")))
    assert not ours(client)


def test_killed_requester_on_a_large_server(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the names of keys are not walked, the set of a mailbox tells the lists of killed requesters."""
    left = Requester(client, [Mailbox()])
    left.ask([("ping", {})])
    [member] = client.smembers(Mailbox().replies)
    client.rpush(str(member).split(SEP)[-1], "an answer")
    assert len(ours(client)) == 2
    monkeypatch.setattr(queue_age, "MOST_KEYS", 0)
    monkeypatch.setattr(control, "FORGOTTEN", -1.0)
    look(client, listen=0)
    assert not ours(client)


@pytest.mark.slow
def test_signal_at_any_moment_leaves_nothing(client: Redis) -> None:
    """An exception of a signal handler, as of Ctrl-C, leaves neither a list nor its name."""
    draw, interrupted = random.Random(5), 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(ROUNDS):
            try:
                with Requester(client, [Mailbox()]) as requester:
                    signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, LONGEST))
                    requester.ask(QUESTIONS)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert not ours(client)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > ROUNDS / 3


ROUNDS = 60

LONGEST = 0.02
"""The most seconds until the signal: a round with one worker takes as long."""


def test_broker_without_memory_is_asked_nothing(group: ForkingGroup) -> None:
    """A full broker refuses the list for answers; then no worker gets a question."""
    server = start_server(group, BROKER)
    with server.client() as client, client.pubsub() as heard:
        heard.subscribe(Mailbox().channel)
        client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            look(client, listen=0)
        kinds = [said["type"] for said in iter(lambda: heard.get_message(timeout=0.2), None)]
    assert kinds == ["subscribe"]


def test_mailboxes_of_another_type_are_left_out(client: Redis) -> None:
    """Keys of other programs with the names of a mailbox keep no worker from being asked."""
    foreign = Mailbox("x")
    client.hset(foreign.bindings, "a", "b")
    client.set(foreign.replies, "a")
    client.sadd(Mailbox("y").bindings, "a")
    client.lpush(Mailbox("y").replies, "a")
    fleet = look(client, listen=0)
    assert len(fleet.workers) == 1
    assert fleet.mistyped == sorted([foreign.bindings, foreign.replies, Mailbox("y").replies])
    client.rename(foreign.replies, Mailbox().replies)
    seen = look(client, listen=0)
    client.delete(*fleet.mistyped, Mailbox("y").bindings, Mailbox().replies)
    assert (seen.workers, seen.messages) == ([], 0)
    assert f"remote control needs {Mailbox().replies}, which is no set" in doubt(
        replace(seen, mistyped=[Mailbox().replies])
    )


def test_workers_with_a_fanout_prefix_are_found() -> None:
    """A `fanout_prefix` shows in the channel of heartbeats; another app, and other channels, are left alone."""
    flags = "-P solo --without-mingle --without-gossip"
    apps: dict[str, dict[str, object]] = {"shop": {}, "mail": {"global_keyprefix": "mail:"}}
    programs = [
        Program(transport={"fanout_prefix": False, **transport}, flags=flags, app=app)
        for app, transport in apps.items()
    ]
    with ForkingGroup() as group:
        broker = start_server(group, BROKER)
        with staged(Case("", tuple(programs)), broker.url) as scene:
            channels = [
                f"{start}{control.BEAT}" for start in ("/0.", "/7.", "mail:/0.", "mail:", "x/0.", "", "mail:/7.")
            ]
            others = hidden(Broker(scene.client), [Mailbox()], channels)
            fleet, own = look(scene.client), look(scene.client, prefix="")
    assert [worker.node.partition("@")[0] for worker in fleet.workers] == ["shop0", "mail1"]
    assert (fleet.silent, doubt(fleet)) == (0, "")
    assert [worker.node.partition("@")[0] for worker in own.workers] == ["shop0"]
    assert {mailbox.fanout for mailbox in own.mailboxes} == {None, ""}
    assert [mailbox.fanout for mailbox in others] == ["", "x/0."]


def test_paused_worker_is_a_doubt(group: ForkingGroup) -> None:
    """A paused worker is silent for a second; then a queue without a reader is unknown, not unread."""
    server = start_server(group, BROKER)
    worker = start_worker(group, server.url, environment={"WORKER_CONCURRENCY": "1"})
    with server.client() as client:
        eventually(lambda: bool(look(client, listen=0).workers), 20)
        client.lpush("mail", TASK)
        client.sadd("_kombu.binding.mail", f"mail{SEP}{SEP}mail")
        assert [one["QUEUE"] for one in unread(client, look(client, listen=0))] == ["mail"]
        worker.pause()
        begun = time.monotonic()
        fleet = look(client, listen=0)
        assert time.monotonic() - begun < control.WHOLE + 1
        assert (fleet.silent, fleet.workers) == (1, [])
        assert "1 of 1 worker did not answer" in doubt(fleet)
        worker.resume()
        eventually(lambda: not ours(client), 5)


def test_queue_of_another_program(client: Redis, broker: Server) -> None:
    """A queue that grows shorter has a reader; one that a connection may poll is unknown; another one is unread."""
    client.sadd("_kombu.binding.mail", f"mail{SEP}{SEP}mail")
    client.lpush("mail", *[TASK] * 1000)
    over = threading.Event()

    def read() -> None:
        with broker.client() as reader:
            while not over.wait(0.02):
                reader.rpop("mail")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert not list(unread(client, look(client, listen=0)))
    finally:
        over.set()
        thread.join()
    with broker.client() as poller:
        poller.lpop("nowhere")
        with pytest.raises(Unknown, match=r"1 connection .* took from a list by LPOP"):
            list(unread(client, look(client, listen=0)))
    assert [one["QUEUE"] for one in unread(client, look(client, listen=0))] == ["mail"]
    client.delete("mail", "_kombu.binding.mail")


def test_names_tell_apps_apart() -> None:
    """A node that several mailboxes have is named with its key prefix, or with prefix and control exchange."""
    answers = Answers(receivers=1)
    answers.keep(answer(b'{"w1@h": {}}', ticket="stats"), "ping")
    boxes = [Mailbox(), Mailbox("shop:"), Mailbox("mail:"), Mailbox("mail:", exchange="bulk")]
    workers = [worker for box in boxes for worker in read_workers(box, answers)]
    names = ["w1@h", "shop:w1@h", "mail:celery/w1@h", "mail:bulk/w1@h"]
    assert [worker.name for worker in told_apart(workers)] == names
    assert [worker.name for worker in told_apart(workers[1:2])] == ["w1@h"]


def test_least_rights(client: Redis, broker: Server) -> None:
    """The printed rights suffice for a look and the watch; without the right to publish, the error names it."""
    client.execute_command("ACL SETUSER", "gate", "reset", "on", ">secret", *rules("broker"), *WORKERS)
    with broker.client(username="gate", password="secret") as least:  # noqa: S106 - of this test's server
        fleet = look(least, listen=0)
        assert len(fleet.workers) == 1
        assert not fleet.refused
        assert not list(stuck(least, fleet))
        with pytest.raises(NoPermissionError):
            least.lpush("celery", "x")
    client.execute_command("ACL SETUSER", "gate", "-publish")
    with (
        broker.client(username="gate", password="secret") as least,  # noqa: S106 - of this test's server
        pytest.raises(NoPermissionError, match="publish"),
    ):
        look(least, listen=0)
    assert not ours(client)


@pytest.mark.parametrize("command", ["srem", "del", "brpop"])
def test_user_who_cannot_clean_up_asks_nothing(client: Redis, broker: Server, command: str) -> None:
    """Without a right that the end of a round needs, no question is sent, and nothing stays."""
    client.execute_command("ACL SETUSER", "few", "reset", "on", ">secret", *rules("broker"), *WORKERS, f"-{command}")
    with (
        broker.client(username="few", password="secret") as few,  # noqa: S106 - of this test's server
        client.pubsub() as heard,
    ):
        heard.subscribe(Mailbox().channel)
        with pytest.raises(NoPermissionError, match=command):
            look(few, listen=0)
        kinds = [said["type"] for said in iter(lambda: heard.get_message(timeout=0.2), None)]
    assert kinds == ["subscribe"]
    assert not ours(client)


def test_refused_read_is_a_doubt(client: Redis, broker: Server) -> None:
    """Without the right to read lengths, a queue without a reader is unknown."""
    client.execute_command("ACL SETUSER", "few", "reset", "on", ">secret", *rules("broker"), *WORKERS, "-llen")
    with broker.client(username="few", password="secret") as few:  # noqa: S106 - of this test's server
        fleet = look(few, listen=0)
        with pytest.raises(Unknown, match="LLEN"):
            list(unread(few, fleet))


def test_key_of_another_type_is_no_refusal(client: Redis) -> None:
    """Keys of other programs with the names of kombu's sets and lists are left alone."""
    kinds = {"x_kombu.binding.mail": "set", "x_kombu.binding.reply.celery.pidbox": "set", "reports": "list"}
    for name in kinds:
        client.hset(name, "a", "b")
    fleet = look(client, queues=["reports"], listen=0)
    client.delete(*kinds)
    assert not fleet.refused
    assert [queue.name for queue in fleet.queues if not queue.is_list] == ["reports"]


def test_pickle_in_a_queue_imports_nothing(client: Redis, tmp_path: Path) -> None:
    """A message of protocol 1 has the name of its task in the body, which is read without its classes."""
    bodies = {"harm": Evil(tmp_path / "harm"), "mail": {"task": "shop.mail", "id": "1", "args": ["secret"]}}
    for name, body in bodies.items():
        client.lpush(name, answer(pickle.dumps(body), PICKLED, headers={}))
    fleet = look(client, queues=[*bodies], listen=0)
    client.delete(*bodies)
    assert not (tmp_path / "harm").exists()
    seen = {queue.name: (queue.strange, [one.task for one in queue.messages]) for queue in fleet.queues}
    assert (seen["harm"], seen["mail"]) == ((1, []), (0, ["shop.mail"]))


def test_workers_in_another_database_are_named(broker: Server) -> None:
    """A URL with the wrong database has no worker, and the reason names the right one."""
    with broker.client(db=5) as elsewhere, pytest.raises(Unknown, match="database 0: end the URL with /0"):
        eventually(lambda: list(absent(elsewhere, look(elsewhere, listen=0))), 10)


def test_distance_costs_few_round_trips(client: Redis, broker: Server) -> None:
    """Over a connection of 100 ms, 30 queues with tasks are seen in the time of 80 round trips."""
    names = [f"far{number}" for number in range(30)]
    for name in names:
        client.sadd(f"_kombu.binding.{name}", f"{name}{SEP}{SEP}{name}")
        client.lpush(name, "{}")
    with (
        latency_proxy("127.0.0.1", broker.port, 0.1) as proxy,
        redis_client(f"redis://127.0.0.1:{proxy.port}/0") as far,
    ):
        far.ping()
        begun = time.monotonic()
        fleet = look(far, listen=0)
        taken = time.monotonic() - begun
    client.delete(*names, *(f"_kombu.binding.{name}" for name in names))
    assert {queue.name for queue in fleet.queues if queue.length} == {*names}
    assert len(fleet.workers) == 1
    assert taken < 8


def test_probe(client: Redis) -> None:
    """A worker runs the task of a probe; nothing stays in the queue, and no result."""
    fleet = look(client, listen=0)
    assert not list(unanswered_probes(client, fleet, ["celery"]))
    with pytest.raises(Unknown, match="include"):
        list(unanswered_probes(client, fleet, ["nowhere"]))
    eventually(lambda: not client.exists("celery", "unacked"), 5)
    assert not client.keys("celery-task-meta-*")
    assert look(client, listen=0).workers[0].counts[control.PROBE] == 1


def test_probe_that_no_worker_takes_is_removed(group: ForkingGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that stays in the queue is a finding, and is removed."""
    server = start_server(group, BROKER)
    worker = start_worker(group, server.url, environment={"WORKER_CONCURRENCY": "1"})
    monkeypatch.setattr("redis_practices.celery_worker.queue_audit.TAKEN", 1.0)
    with server.client() as client:
        eventually(lambda: bool(look(client, listen=0).workers), 20)
        fleet = look(client, listen=0)
        worker.kill()
        found = list(unanswered_probes(client, fleet, ["celery"]))
        assert [one["QUEUE"] for one in found] == ["celery"]
        assert "no worker took it" in str(found[0]["WHY"])
        assert not client.exists("celery")
