"""Test what rests on redis-py's streams of credentials, and that no password reaches an output of the gate."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.auth.token import SimpleToken
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from fixtures import PROJECT
from fixtures.gate.deployment_under_test import gate_environment
from fixtures.run.processes import ForkingGroup
from redis_practices.cli import Failure, UsageError
from redis_practices.clients import cluster_client, one_line_errors, redis_client, with_login
from redis_practices.credentials import LOOK, VARIABLE, LoginFile, Logins, LoginStream, NoLoginError, provider_of
from redis_practices.polling import eventually
from redis_practices.servers.cluster import start_cluster
from redis_practices.servers.server import CACHE, Server, start_server
from redis_practices.tuning.bulk import read_from_all
from redis_practices.tuning.connections import another, cluster_each_time
from tests.wrong_login import WRONG, WrongLogin

HERE = "redis_practices.credentials"


class Broken(CredentialProvider):
    """A provider whose errors hold a password."""

    def __init__(self) -> None:
        """Fail."""
        raise RuntimeError("s3cret")


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a cache."""
    with ForkingGroup() as group:
        yield start_server(group, CACHE)


@pytest.fixture
def logins(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logins]:
    """Give the logins of the cache, the first of which works."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "login"))
    with server.client() as admin:
        made = Logins([admin], tmp_path / "login")
        made.rotate(0)
        yield made


def url_of(server: Any, kind: type = LoginStream) -> str:
    """Return the URL of clients that log in by a provider."""
    return with_login(server.url, f"{HERE}.{kind.__name__}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "no_such_module.Class",
            "names no_such_module.Class, and there is no module no_such_module: install it, or add",
        ),
        (f"{HERE}.NoSuch", f"names {HERE}.NoSuch, which is not there: give module.Class"),
        ("not a name", "names not a name, which is not there: give module.Class"),
        ("tests.test_credentials.Broken", "names tests.test_credentials.Broken, which raises RuntimeError without arg"),
        ("collections.Counter", "names collections.Counter, which makes no redis.CredentialProvider"),
        (f"{HERE}.LoginFile", f"names {HERE}.LoginFile, which reads the login from the file that LOGIN_FILE names"),
        ("\x1b[31m.x", "which is not there"),
    ],
)
def test_wrong_name(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that gives no provider is refused in one line, without the text of the provider's error."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError) as refusal:
        provider_of(name)
    said = str(refusal.value)
    assert line in said
    assert "s3cret" not in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("app\npass word\n", ("app", "pass word")),
        ("secret", ("default", "secret")),
        ("app\r\nsecret\r\n", ("app", "secret")),
        ("", None),
        ("a\nb\nc\n", None),
    ],
)
def test_file(text: str, login: tuple[str, str] | None, tmp_path: Path) -> None:
    """A file has a user and a password, or the password of the default user; else there is no login."""
    file = tmp_path / "login"
    file.write_text(text)
    if login:
        assert LoginFile(file).get_credentials() == login
        return
    with pytest.raises(NoLoginError, match="no login in"):
        LoginFile(file).get_credentials()


def test_no_file(server: Server, logins: Logins) -> None:
    """A client without a file says so in one line, and works as soon as there is one."""
    login = logins.add()
    logins.path.unlink()
    url = url_of(server, LoginFile)
    with redis_client(url) as client:
        no_file = pytest.raises(Failure, match=r"gets no login from the client: there is no login in .*No such file")
        with no_file, one_line_errors(url):
            client.ping()
        logins.announce(login)
        assert client.ping()


def test_refused_login_is_tried_again(server: Server, logins: Logins) -> None:
    """A login that comes 50 ms late is no error: the client tries three times, and reads the file each time."""
    with redis_client(url_of(server, LoginFile)) as client:
        client.ping()
        login = logins.add()
        logins.delete(logins.users[:1])
        timer = threading.Timer(0.05, logins.announce, [login])
        timer.start()
        assert client.ping()
        timer.join()


def test_stream_outlives_a_killed_connection(server: Server, logins: Logins) -> None:
    """A pool of redis-py raises an error into the stream, which tells the next login in time: it closes nothing."""
    plain = Redis(port=server.port, credential_provider=LoginStream(), retry=Retry(NoBackoff(), 0))
    with plain, redis_client(url_of(server)) as ours:
        plain.ping()
        with server.client() as admin:
            assert admin.client_kill_filter(user=logins.users[-1])
        ours.ping()
        old = list(logins.users)
        logins.announce(logins.add())  # the pool of `plain` raises ConnectionError
        eventually(lambda: not logins.connections(old), within=5)
        assert logins.rotate(5.0) == 0
        for client in (plain, ours):
            assert client.ping()


def test_thread_of_streams_does_not_end(server: Server, logins: Logins) -> None:
    """A stream that begins when another one has just ended is watched too."""
    with redis_client(url_of(server)) as client:
        client.ping()
    del client
    gc.collect()
    time.sleep(2 * LOOK)
    assert logins.users
    assert any(thread.name == "logins" for thread in threading.enumerate())


def test_new_login_at_release_raises_nothing(server: Server, logins: Logins) -> None:
    """A command that was done returns its reply, although the login that came meanwhile is refused."""
    with redis_client(url_of(server)) as client:
        client.ping()
        stale = logins.add()
        pool = client.connection_pool
        connection = pool.get_connection()
        logins.announce(stale)
        eventually(lambda: bool(connection._re_auth_token), within=5)  # noqa: SLF001 - no other way to see that it came
        logins.rotate(0)  # deletes the login that the connection is about to use
        pool.release(connection)
        assert client.ping()


def test_new_login_waits_once_for_a_server_that_hangs(server: Server, logins: Logins) -> None:
    """One idle connection asks the server, and the pool closes its further idle connections."""
    with redis_client(url_of(server), timeout=0.2) as client, server.client() as admin:
        pool = client.connection_pool
        for connection in [pool.get_connection() for _ in range(5)]:
            pool.release(connection)
        user, password = LoginFile(logins.path).get_credentials()
        admin.config_resetstat()
        server.pause()
        pool.re_auth_callback(SimpleToken(password, -1, 1000 * time.time(), {"oid": user}))
        server.resume()
        assert admin.info("commandstats")["cmdstat_auth"]["calls"] == 1
        assert client.ping()


def test_forked_child_leaves_the_connections_of_its_parent_alone(server: Server, logins: Logins) -> None:
    """A child with a copy of the pool sends no AUTH over the sockets that it shares with its parent."""
    for client in (redis_client(url_of(server)), Redis(port=server.port, credential_provider=LoginStream())):
        with client, server.client() as admin:
            client.ping()
            stream: Any = client.connection_pool.connection_kwargs["credential_provider"]
            admin.config_resetstat()
            if not (child := os.fork()):
                stream.path = logins.path.with_name("other")  # the parent's thread reads the first one
                stream.path.write_text("other\nlogin\n")
                stream.look()
                os._exit(0)
            os.waitpid(child, 0)
            assert "cmdstat_auth" not in admin.info("commandstats")
            logins.announce(logins.add())
            # Else the parent's thread logs this client in while the next one counts.
            eventually(lambda: "cmdstat_auth" in admin.info("commandstats"), within=5)
            assert client.ping()


def test_forked_child_logs_in_by_itself(server: Server, logins: Logins) -> None:
    """A child that connects has its own stream: a login that comes then closes none of its connections."""
    with redis_client(url_of(server)) as client:
        client.ping()
        ready, told = os.pipe()
        done, stop = os.pipe()
        if not (child := os.fork()):
            client.ping()
            os.write(told, b"x")
            os.read(done, 1)
            os._exit(0 if client.ping() else 1)
        os.read(ready, 1)
        try:
            assert logins.rotate(5.0) == 0
        finally:
            os.write(stop, b"x")
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_subscription_hears_on(server: Server, logins: Logins) -> None:
    """A thread that reads messages while logins change gets messages alone, also with a connection that was closed."""
    heard: list[object] = []
    over = threading.Event()
    with redis_client(url_of(server)) as client, client.pubsub() as listener:
        listener.subscribe("news")

        def listen() -> None:
            while not over.is_set():
                if message := listener.get_message(timeout=0.05):
                    heard.append(message["data"])

        thread = threading.Thread(target=listen)
        thread.start()
        for number in range(3):
            logins.rotate(0.7)
            eventually(lambda: client.publish("news", number) == 1, within=5)  # noqa: B023 - called at once
        eventually(lambda: "2" in heard, within=5)
        over.set()
        thread.join(10)
    assert set(heard) <= {1, "0", "1", "2"}, heard


def test_cluster_logs_in_after_a_new_slot_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection of a cluster client logs in, also after it has read the slot map again."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "login"))
    with ForkingGroup() as group:
        cluster = start_cluster(group, replicas=0)
        logins = Logins([node.client() for node in cluster.nodes], tmp_path / "login")
        logins.rotate(0)
        with cluster_client(url_of(cluster)) as client:
            client.nodes_manager.initialize()
            for number in range(30):
                client.set(f"key:{number}", number)
            assert logins.connections(logins.users) >= len(cluster.nodes)
            assert logins.rotate(5.0) == 0
            assert client.get("key:7") == "7"


def test_further_client_has_the_login_of_a_provider(server: Server, logins: Logins) -> None:
    """A further client of a client's server is logged in as the same user."""
    with redis_client(url_of(server)) as client, another(client) as other:
        assert other.acl_whoami() == client.acl_whoami() == logins.users[0]


def test_further_cluster_client_has_the_login_of_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further client of a client's cluster logs in, where a stranger is refused."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "login"))
    with ForkingGroup() as group:
        cluster = start_cluster(group, replicas=0)
        admins = [node.client() for node in cluster.nodes]
        Logins(admins, tmp_path / "login").rotate(0)
        for admin in admins:
            admin.config_set("requirepass", "secret")
        with cluster_client(url_of(cluster)) as client:
            client.set("key:7", "7")
            assert cluster_each_time(client, ["key:7"]) == read_from_all(client, ["key:7"]) == ["7"]


def test_refused_password_is_an_error(server: Server, logins: Logins) -> None:
    """A login that never works is refused like a wrong password."""
    logins.announce(("nobody", "nothing"))
    with redis_client(url_of(server, LoginFile)) as client, pytest.raises(AuthenticationError):
        client.ping()


@pytest.mark.slow
def test_gate_shows_no_password(server: Server, logins: Logins, tmp_path: Path) -> None:
    """A run whose connections are refused later on shows neither the right password nor the wrong one anywhere."""
    password = logins.path.read_text().split()[1]
    provider = f"{WrongLogin.__module__}.{WrongLogin.__name__}"
    options = ["-k", "cache-001 or cache-016", "--processes", "0", "--report", f"{tmp_path}/report"]
    options += ["--credentials", provider, "--cache-url", server.url]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "features/pure_cache",
        *options,
        "--showlocals",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=PROJECT, env=gate_environment(), capture_output=True, text=True, timeout=240, check=False
    )
    said = done.stdout + done.stderr
    assert "verdict: partial" not in said, said
    assert f"--credentials={provider}" in said
    assert "auth_args" in said, "no traceback shows what was sent"
    shown = "".join([said, *(file.read_text("latin-1") for file in (tmp_path / "report").rglob("*") if file.is_file())])
    assert not [one for one in (password, WRONG) if one in shown]
