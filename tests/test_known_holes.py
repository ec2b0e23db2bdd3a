"""Test the table of known holes, its renewal, and what a server's address says of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import PROJECT
from fixtures.context import Context
from fixtures.proxies.streams import RespProxy, TlsProxy
from fixtures.proxies.tampering import MUTATIONS
from fixtures.run.keys import NotAsked, Unsupported
from fixtures.run.practices_file import AuditBounds
from fixtures.run.processes import ForkingGroup
from fixtures.stacks.external.command_guard import GuardedPool
from fixtures.stacks.external.deployments import ExternalNode
from fixtures.stacks.external.stack import ExternalStack
from redis_practices.clients import POOLS, shown
from redis_practices.server_info import HOLES, handshake, hole_in, is_loopback, known_holes, without_credentials
from redis_practices.servers.server import BROKER, CACHE, start_server
from steps.common.audit import Audited, check_supported
from steps.common.exposure import ending_certificates, unprotected_servers
from steps.common.vocabulary import releases

TABLE = [["ENGINE", "BACKPORTS"], ["redis", "nothing"], ["valkey", "nothing"]]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("redis 7.2.10", "7.2.16 mends"),
        ("redis 8.2.1", "8.2.10 mends"),
        ("redis 8.10.1", "8.10.2 mends"),
        ("redis 5.0.14", "no more fixes"),
        ("redis 7.0.14", "no more fixes"),
        ("redis 8.0.6", "no more fixes"),
        ("valkey 8.1.3", "8.1.9 mends"),
        ("valkey 9.1.0", "9.1.1 mends"),
    ],
)
def test_hole_is_known(engine: str, said: str) -> None:
    """A version with known holes is named with the version that mends it, or with the end of its line."""
    assert said in hole_in(engine, {}, date(2026, 11, 30))


@pytest.mark.parametrize("engine", ["redis 6.2.24", "redis 8.10.2", "redis 8.2.11", "valkey 9.1.2", "valkey 7.2.15"])
def test_mended_version_has_no_hole(engine: str) -> None:
    """A version that is mended, or newer in its line, has no known hole."""
    assert not hole_in(engine, {"maxmemory-clients": "0"}, date(2026, 11, 30))


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("redis 7.0.15", "Debian 12"),
        ("redis 8.12.0", "does not know"),
        ("valkey 9.9.0", "does not know"),
        ("redict 7.3.6", "does not know"),
        ("dragonfly df-v1.30.0", "does not know"),
    ],
)
def test_unknown_is_not_safe(engine: str, said: str) -> None:
    """Of a version that the table does not have, or that a distribution mends, nothing is said."""
    with pytest.raises(LookupError, match=said):
        hole_in(engine, {})


def test_hole_behind_a_setting() -> None:
    """A hole that a setting opens is known only with that setting."""
    assert "CVE-2026-130822" in hole_in("valkey 9.0.7", {"maxmemory-clients": "52428800"}, date(2026, 11, 30))


def test_line_ends() -> None:
    """After the end of its line a version has no more fixes."""
    assert "no more fixes" in hole_in("redis 6.2.24", {}, date(2027, 4, 2))


def test_releases_of_packages() -> None:
    """A version of a package stands for the version of its server."""
    assert releases("5:7.0.15-1~deb12u5, 6.0.16") == {"7.0.15", "6.0.16"}
    assert not releases("nothing")


def test_table_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Advisories raise versions and add lines, and change nothing else."""
    monkeypatch.setattr(sys, "path", [str(PROJECT / "benchmarks"), *sys.path])
    renewed = import_module("known_holes").renewed
    text, today = HOLES.read_text(encoding="utf-8"), date(2027, 1, 2)
    advisory = {
        "html_url": "https://example.com/GHSA-1",
        "vulnerabilities": [{"patched_versions": "7.2.99, 8.2.1, 8.12.1 and 8.14.0-rc1"}, {"patched_versions": None}],
    }
    after = renewed(text, {"redis": [advisory], "valkey": []}, today)
    changed = sorted(set(after.splitlines()) - set(text.splitlines()))
    assert changed == [
        '"7.2" = { mended = "7.2.99", ends = 2029-12-01, source = "https://example.com/GHSA-1" }',
        '"8.12" = { mended = "8.12.1", source = "https://example.com/GHSA-1" }',
        "renewed = 2027-01-02",
    ]
    assert renewed(text, {"redis": [], "valkey": []}, known_holes()["renewed"]) == text


@pytest.fixture
def group() -> Iterator[ForkingGroup]:
    """Give a process group for this test."""
    with ForkingGroup("redis-practices-holes") as processes:
        yield processes


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard the clients, as in a run on the deployment of a URL."""
    monkeypatch.setitem(POOLS, "sync", GuardedPool)


class Seen:
    """Take measurements without a scenario."""

    def __call__(self, name: str, **values: Any) -> None:
        """Keep nothing."""


def judged(*urls: str, bounds: dict[str, str] | None = None) -> Context:
    """Return the context of a scenario about the servers of URLs."""
    nodes = [ExternalNode(shown(url), url) for url in urls]
    audit = Audited(nodes, AuditBounds(bounds or {}), {})
    return cast("Context", SimpleNamespace(part=lambda _: audit, measure=Seen(), stack=ExternalStack({})))


@pytest.fixture
def old_url(group: ForkingGroup) -> Iterator[str]:
    """Give the URL of a broker that shows a version with known holes."""
    mutation = MUTATIONS["a version with known holes"]()
    with closing(RespProxy(start_server(group, BROKER).port, mutation)) as proxy:
        yield proxy.url


def test_version_with_holes_is_refused(old_url: str) -> None:
    """A server with a version that has known holes is refused, unless its user names the version as mended."""
    with pytest.raises(AssertionError, match=r"8\.0\.1: it has known holes.*backports-valkey = \"8\.0\.1\""):
        check_supported(judged(old_url), TABLE)
    check_supported(judged(old_url, bounds={"backports-valkey": "8.0.1-1~deb13u1"}), TABLE)


def test_service_that_mends_unseen(old_url: str) -> None:
    """A version of a service, which refuses CONFIG, is unknown."""
    context = judged(old_url)
    context.part(Audited).lacks = {"CONFIG GET": "unknown command"}
    with pytest.raises(Unsupported, match="refuses CONFIG"):
        check_supported(context, TABLE)


def test_server_without_password(group: ForkingGroup) -> None:
    """A loopback server without a password gets advice, and a failure if it listens elsewhere, too."""
    with pytest.raises(NotAsked, match=r"advice: .* without a password"):
        unprotected_servers(judged(start_server(group, CACHE).url))
    elsewhere = {**CACHE, "bind": ["127.0.0.1", "-192.0.2.1"]}
    with pytest.raises(NotAsked):
        unprotected_servers(judged(start_server(group, elsewhere).url))
    [found] = unprotected_servers(judged(start_server(group, {**elsewhere, "protected-mode": "no"}).url))
    assert "protected-mode is no" in str(found["WHY"])
    server = start_server(group, {**CACHE, "requirepass": "s3cret"})
    assert unprotected_servers(judged(server.url)) == []


def test_certificate_is_read(group: ForkingGroup) -> None:
    """The end of a certificate is read from a new connection; on loopback it is advice."""
    server = start_server(group, CACHE)
    with closing(TlsProxy(group.folder)) as proxy:
        url = f"rediss://{proxy.before(server.port, 20)}/0?ssl_ca_certs={proxy.ca_file}"
        seen = handshake(url)
        assert seen.version == "TLSv1.3"
        assert seen.is_secret_later
        assert abs(seen.ends - datetime.now(UTC) - timedelta(days=20)) < timedelta(minutes=5)
        # The end of the connection may come before the alert.
        with pytest.raises(OSError, match=r"alert|version|protocol|EOF|reset"):
            handshake(url, old=True)
        with pytest.raises(NotAsked, match="ends in 20 days"):
            ending_certificates(judged(url))


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("127.1.2.3", True), ("[::1]", True), ("192.0.2.1", False)]
)
def test_loopback(host: str, here: bool) -> None:  # noqa: FBT001 - a parameter
    """An address of loopback is one that only this machine reaches."""
    assert is_loopback(f"redis://{host}:6379/0") is here


def test_stranger_has_no_credentials() -> None:
    """A stranger has neither the user of a URL, nor its certificate."""
    url = without_credentials("rediss://a:b@h:1/3?ssl_certfile=c&ssl_ca_certs=d&db=2")
    assert url == "rediss://h:1?ssl_ca_certs=d&protocol=2"
    assert without_credentials("redis://:secret@h") == "redis://h?protocol=2"
