"""Test the gate on brokers: healthy ones, faulty ones, URLs with options."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.gate.spoiling import spoil_log
from fixtures.proxies.streams import Mutation, RespProxy
from fixtures.run.processes import ForkingGroup
from redis_practices.clients import checked_url
from redis_practices.sentinels import SentinelUrl, agreed, look
from redis_practices.servers.server import (
    AT_ONCE,
    BROKER,
    NAME,
    PATIENT,
    Config,
    await_sentinels,
    begin_sentinels,
    sentinel_url,
    start_server,
)
from tests.cases.judging import QUICK, judge
from tests.cases.proxies import OldProtocol, TcpProxy

URL_OPTIONS = (
    *("socket_timeout=3", "health_check_interval=20", "socket_keepalive=true", "client_name=gate"),
    *("retry_on_timeout=true", "max_connections=50", "protocol=2", "protocol=3", "decode_responses=true", "db=0"),
)
ONE = "-k celery-082"
"""A scenario that sends a task."""


@pytest.mark.slow
@pytest.mark.parametrize("option", ["", *URL_OPTIONS])
def test_gate_takes_an_option_in_the_url(group: ForkingGroup, option: str) -> None:
    """The gate accepts every option of redis-py in the URL of a broker."""
    url = checked_url(f"{start_server(group, BROKER).url}?{option}", "the URL")
    judgement = judge(group, "broker", url, ONE)
    assert (judgement.failed, judgement.passed) == ({}, 1)


@pytest.mark.slow
def test_gate_accepts_a_healthy_broker(group: ForkingGroup) -> None:
    """The gate accepts a healthy broker."""
    judgement = judge(group, "broker", start_server(group, BROKER).url)
    assert (judgement.failed, judgement.verdict) == ({}, "accepted")


FAR = "-k 'celery-082 or celery-045 or celery-032'"
"""A sum by a worker, retries within seconds, and a core promise whose scenario waits for seconds."""


@pytest.mark.slow
def test_gate_times_no_worker_of_a_far_broker(
    group: ForkingGroup, mutated: Callable[[int, Mutation], RespProxy]
) -> None:
    """The gate skips what times workers, as the way to the broker takes most of the time; a sum is judged."""
    url = mutated(start_server(group, BROKER).port, Mutation(delay=0.1)).url
    judgement = judge(group, "broker", url, FAR)
    skipped = [one["reason"] for one in judgement.report["scenarios"] if one["status"] == "skipped"]
    assert (judgement.failed, judgement.passed, judgement.verdict) == ({}, 1, "partial")
    assert len(skipped) == 2
    assert all(reason.startswith("external: an answer of the broker takes 0.1") for reason in skipped)


FAULTS: dict[str, tuple[Config, str]] = {
    "locks and results are evicted": ({"maxmemory-policy": "volatile-lru"}, "`CONFIG SET maxmemory-policy noeviction`"),
    "subscribers have a buffer of 1 kB": (
        {"client-output-buffer-limit": ["pubsub", "1kb", "1kb", "1"]},
        "`CONFIG SET client-output-buffer-limit ",
    ),
}
"""Settings, and the beginning of the remedy."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_gate_refuses_a_faulty_broker(group: ForkingGroup, fault: str) -> None:
    """The gate refuses a broker that loses locks or results."""
    settings, remedy = FAULTS[fault]
    judgement = judge(group, "broker", start_server(group, {**BROKER, **settings}).url)
    assert judgement.verdict == "refused"
    shown = [one["remedy"]["text"] for one in judgement.report["scenarios"] if one["status"] == "failed"]
    assert [text.startswith(remedy) for text in shown] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("silently", [False, True], ids=["closed", "forgotten"])
@pytest.mark.parametrize(("idle", "selection"), [(2, QUICK), (10, "-k celery-029 -m waits")], ids=["quick", "whole"])
def test_gate_refuses_a_balancer_that_cuts_idle_connections(
    group: ForkingGroup, carried: Callable[..., TcpProxy], idle: float, selection: str, *, silently: bool
) -> None:
    """The gate refuses a broker behind a load balancer with an idle timeout: 2 s by --quick, 10 s by a whole run."""
    proxy = carried(start_server(group, BROKER).port, idle=idle, silently=silently)
    judgement = judge(group, "broker", proxy.url, selection)
    assert judgement.verdict == "refused"
    assert [name for name in judgement.failed if not name.startswith("connections that are idle")] == []
    assert "connections cut off of the silent one" in str(judgement.failed)


@pytest.mark.slow
def test_gate_refuses_a_log_that_cannot_be_rewritten(group: ForkingGroup) -> None:
    """The gate refuses a broker whose last rewrite of the append-only file failed."""
    server = start_server(group, BROKER)
    spoil_log(server)
    assert judge(group, "broker", server.url, "-m audit").verdict == "refused"


@pytest.mark.slow
def test_gate_judges_a_broker_without_hello(group: ForkingGroup, mutated: Callable[[int, Mutation], RespProxy]) -> None:
    """The gate judges a broker without HELLO, if the URL has protocol=2."""
    proxy = mutated(start_server(group, BROKER).port, OldProtocol())
    judgement = judge(group, "broker", f"{proxy.url}?protocol=2")
    assert judgement.verdict in ("accepted", "partial"), judgement.failed


@pytest.mark.slow
def test_gate_says_that_no_sentinel_answers(group: ForkingGroup) -> None:
    """A URL of sentinels that do not answer is an error that names them."""
    judgement = judge(group, "broker", "sentinel://127.0.0.1:1;sentinel://127.0.0.1:2/0")
    assert judgement.exit_code == pytest.ExitCode.USAGE_ERROR
    assert "no sentinel answers: 127.0.0.1:1 refuses the connection" in judgement.said


@pytest.mark.slow
def test_gate_names_an_address_that_it_does_not_reach(group: ForkingGroup) -> None:
    """Sentinels may name an address that the judge does not reach; the error says that they do."""
    primary = start_server(group, BROKER)
    watching = begin_sentinels(group, primary)
    primary.kill()
    judgement = judge(group, "broker", f"{sentinel_url(watching)}?master_name={NAME}")
    assert judgement.exit_code == pytest.ExitCode.USAGE_ERROR
    wanted = f"{primary.address} refuses the connection: nothing listens there; the sentinels name this address"
    assert wanted in judgement.said


@pytest.mark.slow
def test_gate_lets_the_sentinels_fail_over(group: ForkingGroup) -> None:
    """With --allow-disruption the gate asks for a failover; afterwards the former primary is primary again."""
    primary = start_server(group, {**BROKER, **AT_ONCE})
    start_server(group, {**BROKER, **AT_ONCE, "replicaof": primary.address.split(":")})
    watching = await_sentinels(begin_sentinels(group, primary, settings=PATIENT))
    url = f"{sentinel_url(watching)}?master_name={NAME}"
    judgement = judge(group, "broker", url, "-m disruptive -k celery-265 --allow-disruption")
    assert (judgement.failed, judgement.passed) == ({}, 1), judgement.said
    assert agreed(look(SentinelUrl.read(url))) == primary.address
    assert f"{primary.address} (sentinels: {NAME})" in judgement.said
