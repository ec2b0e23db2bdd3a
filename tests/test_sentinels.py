"""Test the URL of sentinels, the detectors of their defects, and real sentinels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from fixtures.reporting.redaction import Secrets
from fixtures.run.options import check_url
from fixtures.run.processes import ForkingGroup
from gate_user import SENTINEL
from redis_practices.cli import Failure, UsageError
from redis_practices.clients import redis_client
from redis_practices.polling import eventually
from redis_practices.sentinels import (
    Fields,
    SentinelUrl,
    View,
    agreed,
    cannot_log_in,
    cannot_promote,
    differ,
    look,
    set_otherwise,
    unsettled,
    with_name,
    with_news,
    without_spare,
)
from redis_practices.servers.server import (
    AT_ONCE,
    BROKER,
    NAME,
    Sentinel,
    await_sentinels,
    begin_sentinels,
    sentinel_url,
    start_server,
)

# The URL


def test_url_in_celerys_form() -> None:
    """User, password and database are those of the primary, wherever they stand; the sentinels have their own."""
    url = SentinelUrl.read("sentinel://:p%40ss@one:26379;sentinel://two/3?master_name=shop&sentinel_password=a%2Fb")
    assert (url.addresses, url.name) == (("one:26379", "two:26379"), "shop")
    assert url.server("10.0.0.1:6379") == "redis://:p%40ss@10.0.0.1:6379/3"
    assert url.sentinel("one:26379") == "redis://:a%2Fb@one:26379"


@pytest.mark.parametrize(
    ("options", "server", "sentinel"),
    [
        ("", "redis", "redis"),
        ("?ssl=true", "rediss", "rediss"),
        ("?ssl_cert_reqs=none", "rediss", "rediss"),
        ("?ssl_cert_reqs=none&sentinel_ssl=false", "rediss", "redis"),
        ("?ssl_cert_reqs=none&ssl=false&sentinel_ssl=true", "redis", "rediss"),
    ],
)
def test_url_with_tls(options: str, server: str, sentinel: str) -> None:
    """TLS is for servers and sentinels, unless the URL says otherwise."""
    url = SentinelUrl.read(f"sentinel://one{options}")
    assert url.server("h:1").partition(":")[0] == server
    assert url.sentinel("one:1").partition(":")[0] == sentinel
    assert ("ssl_cert_reqs" in url.sentinel("one:1")) == (sentinel == "rediss" and "reqs" in options)


WRONG = {
    "sentinel://": "is no list of sentinels",
    "sentinel://one;redis://two": "is no list of sentinels",
    "sentinel://one:port": "is no list of sentinels",
    "sentinel://:a@one;sentinel://:b@two": "several logins or databases",
    "sentinel://one/0;sentinel://two/1": "several logins or databases",
    "sentinel://one?master_name=": "master_name without a value",
    "sentinel://one?ssl=yes": "ssl with a wrong value",
    "sentinel://one/0?master=x": "an option that redis-py does not know",
    "sentinel://:s3cret-word@one/zero": "is not a Redis URL",
}


@pytest.mark.parametrize("url", WRONG)
def test_wrong_url(url: str) -> None:
    """A wrong URL is refused in one line without its password."""
    with pytest.raises(UsageError, match=WRONG[url]) as error:
        SentinelUrl.read(url, "--broker-url")
    assert "s3cret-word" not in str(error.value)
    assert str(error.value).startswith("--broker-url ")


def test_cluster_has_no_sentinels() -> None:
    """The URL of a cluster names one of its nodes."""
    with pytest.raises(UsageError, match="--cluster-url names sentinels"):
        check_url("cluster", "sentinel://one")


def test_passwords_are_hidden() -> None:
    """Output shows neither the password of the servers nor that of the sentinels."""
    url = "sentinel://one;sentinel://:first-word@two/0?sentinel_password=second-word"
    assert Secrets([url]).hide("of first-word and second-word") == "of *** and ***"


# What sentinels say

PRIMARY = {"ip": "10.0.0.1", "port": "6379", "flags": "master", "quorum": "2", "failover-timeout": "60000"}
REPLICA = {"ip": "10.0.0.2", "port": "6379", "flags": "slave", "slave-priority": "100", "master-link-status": "ok"}
OTHERS = [{"ip": "10.0.0.3", "port": "1", "flags": "sentinel"}, {"ip": "10.0.0.4", "port": "1", "flags": "sentinel"}]
WELL = View("10.0.0.9:26379", "", "id", PRIMARY, (REPLICA,), OTHERS)


def seen(primary: Fields | None = None, replica: Fields | None = None, others: Sequence[Fields] = OTHERS) -> View:
    """Return what a sentinel says if some fields are others."""
    return replace(
        WELL, primary={**PRIMARY, **(primary or {})}, replicas=[{**REPLICA, **(replica or {})}], others=others
    )


def test_nothing_is_wrong() -> None:
    """Three sentinels that agree have no defect."""
    views = [WELL, WELL, WELL]
    detectors = (differ, set_otherwise, without_spare, cannot_log_in, cannot_promote)
    assert [detect(views) for detect in detectors] == [[]] * 5
    assert (agreed(views), unsettled(views)) == ("10.0.0.1:6379", "")


def test_one_names_another_primary() -> None:
    """A sentinel with another primary is reported, and so is a silent one."""
    views = [WELL, WELL, seen({"ip": "10.0.0.2"}), View("s:4", "is away")]
    assert [why for _, why in differ(views)] == ["names 10.0.0.2:6379, most others 10.0.0.1:6379", "is away"]
    assert agreed(views) == "10.0.0.1:6379"


def test_none_names_a_primary() -> None:
    """Without any answer there is no address."""
    with pytest.raises(Failure, match="no sentinel names a primary: s:4 is away"):
        agreed([View("s:4", "is away")])


@pytest.mark.parametrize(
    ("dead", "known", "quorum", "is_enough"),
    [
        *((0, 3, 2, True), (0, 3, 1, True), (0, 2, 1, False), (0, 3, 3, False), (1, 3, 2, False), (1, 5, 3, True)),
        *((2, 5, 3, False), (3, 6, 2, False), (0, 4, 2, True), (0, 1, 1, False), (0, 5, 4, True), (0, 5, 5, False)),
    ],
)
def test_majority(*, dead: int, known: int, quorum: int, is_enough: bool) -> None:
    """One more sentinel may die: the rest still reach the quorum, and a majority of all that are known."""
    others = [{**OTHERS[0], "flags": "s_down,sentinel" if index < dead else "sentinel"} for index in range(known - 1)]
    assert (without_spare([seen({"quorum": str(quorum)}, others=others)]) == []) == is_enough


@pytest.mark.parametrize(
    ("replica", "why"),
    [
        ({"flags": "s_down,slave,disconnected"}, "is dead for the sentinel"),
        ({"slave-priority": "0"}, "has the priority 0"),
        ({"master-link-status": "err", "slave-repl-offset": "0"}, "never had a copy"),
        (
            {"master-link-status": "err", "slave-repl-offset": "7", "master-link-down-time": "9000"},
            "lost its primary 9 s",
        ),
    ],
)
def test_replica_that_cannot_take_over(replica: Fields, why: str) -> None:
    """Each reason is named; another replica that can take over is enough."""
    [(_, said)] = cannot_promote([seen(replica=replica)])
    assert said.startswith(f"10.0.0.2:6379 {why}")
    assert cannot_promote([replace(WELL, replicas=[REPLICA, {**REPLICA, **replica, "ip": "10.0.0.5"}])]) == []


def test_replica_that_is_late_or_missing() -> None:
    """A replica without the writes of now cannot take over; nor can none."""
    assert cannot_promote([WELL], {"10.0.0.2:6379": "is behind"}) == [(WELL.sentinel, "10.0.0.2:6379 is behind")]
    assert cannot_promote([replace(WELL, replicas=())]) == [(WELL.sentinel, "knows no replica")]


def test_login_is_refused() -> None:
    """Answers that are all errors are a refused login; no answers are another fault."""
    errors = {"last-ping-reply": "500", "last-ok-ping-reply": "40000", "flags": "s_down,master"}
    [(_, why)] = cannot_log_in([seen(errors)])
    assert why == "gets only errors from 10.0.0.1:6379: its auth-pass is wrong"
    [(_, why)] = cannot_log_in([seen({"flags": "s_down,master", "last-ping-reply": "9", "last-ok-ping-reply": "9"})])
    assert why == "takes 10.0.0.1:6379 for dead, which answers this client"


def test_what_is_in_motion() -> None:
    """A failover in progress and an old primary are passing states."""
    assert unsettled([seen({"flags": "master,failover_in_progress"})]).endswith("replaces 10.0.0.1:6379")
    assert (
        unsettled([seen(replica={"role-reported": "master"})]) == "10.0.0.2:6379 was the primary, and becomes a replica"
    )
    assert unsettled([seen(replica={"role-reported": "master", "flags": "s_down,slave"})]) == ""


# Real sentinels


@pytest.fixture(scope="module")
def group() -> Iterator[ForkingGroup]:
    """Give a group for the servers of this module."""
    with ForkingGroup() as made:
        yield made


@pytest.fixture(scope="module")
def sentinels(group: ForkingGroup) -> list[Sentinel]:
    """Start a primary with a replica, and three sentinels with a password."""
    primary = start_server(group, {**BROKER, **AT_ONCE})
    start_server(group, {**BROKER, "replicaof": primary.address.split(":")})
    secret = {"requirepass": "an0ther", "sentinel sentinel-pass": ["an0ther"]}
    return await_sentinels(begin_sentinels(group, primary, settings=secret))


def test_sentinels_are_asked(sentinels: list[Sentinel]) -> None:
    """One sentinel in the URL suffices to find its peers, the name and the primary."""
    url = with_name(SentinelUrl.read(f"{sentinel_url(sentinels[:1])}?sentinel_password=an0ther"))
    views = look(url)
    assert (url.name, len(views), differ(views), cannot_promote(with_news(url, views))) == (NAME, 3, [], [])
    with redis_client(url.server(agreed(views))) as client:
        assert client.info("replication")["role"] == "master"


def test_missing_password_and_name(sentinels: list[Sentinel]) -> None:
    """A login that sentinels refuse, and a name that they do not know, are said."""
    with pytest.raises(Failure, match="refuses the login: give sentinel_password in the URL"):
        with_name(SentinelUrl.read(sentinel_url(sentinels)))
    url = SentinelUrl.read(f"{sentinel_url(sentinels)}?sentinel_password=an0ther&master_name=shop")
    assert {view.why for view in look(url)} == {"knows no primary shop"}


def test_user_of_least_privilege(sentinels: list[Sentinel]) -> None:
    """The rights of gate_user.py are enough to ask, and no more."""
    for sentinel in sentinels:
        with sentinel.client() as client:
            client.execute_command("ACL SETUSER", "gate", "reset", "on", ">w0rd", *SENTINEL)
    options = f"?master_name={NAME}&sentinel_username=gate&sentinel_password=w0rd"
    url = SentinelUrl.read(f"{sentinel_url(sentinels)}{options}")
    assert [view.why for view in look(url)] == [""] * 3
    with redis_client(url.sentinel(url.addresses[0])) as client, pytest.raises(Exception, match="no permissions"):
        client.execute_command("SENTINEL", "SET", NAME, "quorum", "1")


def test_killed_sentinel_is_named(sentinels: list[Sentinel]) -> None:
    """A sentinel that was killed is named, and its peers count it as dead."""
    url = SentinelUrl.read(f"{sentinel_url(sentinels)}?sentinel_password=an0ther&master_name={NAME}")
    sentinels[2].kill()
    assert differ(look(url)) == [(sentinels[2].address, "refuses the connection: nothing listens there")]
    eventually(lambda: len(without_spare(look(url))) == 2, within=20)
