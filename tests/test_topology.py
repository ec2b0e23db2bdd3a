"""Test that answers about the topology are parsed alike, from any command, server and protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from redis_practices.redis_cluster.topology import (
    READERS,
    SLOTS,
    Command,
    Member,
    SlotRange,
    announced,
    ranges_of,
    read_nodes,
    read_shards,
    read_slots,
)
from steps.common.audit import refusal

A, B, C, D = (letter * 40 for letter in "abcd")
"""The ids in all recorded answers: two primaries, the replica of the first, and a dead primary."""

NODES = {
    "Redis 6.2.14": f"""\
{B} 127.0.0.1:24501@34501 master - 0 1795962151760 2 connected 100-16383
{D} 127.0.0.1:24503@34503 master,fail - 1795962145139 1795962144623 3 disconnected
{C} 127.0.0.1:24502@34502 slave {A} 0 1795962151760 1 connected
{A} 127.0.0.1:24500@34500 myself,master - 0 1795962151000 1 connected 0-2 7 [7->-{B}] [100-<-{B}]
""",
    "Redis 7.0.15": f"""\
{B} 127.0.0.1:24501@34501 master - 0 1795962069952 2 connected 100-16383
{C} 127.0.0.1:24502@34502 slave {A} 0 1795962069952 1 connected
{D} 127.0.0.1:24503@34503 master,fail - 1795962064097 1795962063594 3 disconnected
{A} 127.0.0.1:24500@34500,left.example myself,master - 0 1795962069000 1 connected 0-2 7 [7->-{B}] [100-<-{B}]
""",
    "Redis 8.0.2": f"""\
{C} 127.0.0.1:24502@34502 slave {A} 0 1795962083553 1 connected
{B} 127.0.0.1:24501@34501 master - 0 1795962083553 2 connected 100-16383
{A} 127.0.0.1:24500@34500,left.example myself,master - 0 0 1 connected 0-2 7 [7->-{B}] [100-<-{B}]
{D} 127.0.0.1:24503@34503 master,fail - 1795962077568 1795962077030 3 disconnected
""",
    "Valkey 8.1.1": f"""\
{B} 127.0.0.1:24501@34501 master - 0 1795962096833 2 connected 100-16383
{D} 127.0.0.1:24503@34503 master,fail - 1795962091124 1795962090603 3 disconnected
{C} 127.0.0.1:24502@34502 slave {A} 0 1795962096833 1 connected
{A} 127.0.0.1:24500@34500,left.example myself,master - 0 0 1 connected 0-2 7 [7->-{B}] [100-<-{B}]
""",
    "Valkey 9.1.2": f"""\
{D} 127.0.0.1:24503@34503 master,fail - 1795962113701 1795962113193 3 disconnected
{C} 127.0.0.1:24502@34502 slave {A} 0 1795962120224 1 connected
{B} 127.0.0.1:24501@34501 master - 0 1795962120224 2 connected 100-16383
{A} 127.0.0.1:24500@34500,left.example myself,master - 0 0 1 connected 0-2 7 [7->-{B}] [100-<-{B}]
""",
}
"""Recorded answers to ``CLUSTER NODES``, with changed ids and epochs; all servers ran on one machine."""

FIRST = Member(
    A,
    "127.0.0.1:24500",
    frozenset({"myself", "master"}),
    ranges=((0, 2), (7, 7)),
    hostname="left.example",
    bus_port=34500,
    epoch=1,
    linked=True,
    leaving={7: B},
    arriving={100: B},
)
SECOND = Member(
    B, "127.0.0.1:24501", frozenset({"master"}), ranges=((100, 16383),), bus_port=34501, epoch=2, linked=True
)
REPLICA = Member(C, "127.0.0.1:24502", frozenset({"slave"}), primary=A, bus_port=34502, epoch=1, linked=True)
DEAD = Member(D, "127.0.0.1:24503", frozenset({"master", "fail"}), bus_port=34503, epoch=3, linked=False)

SLOT_RANGES = [
    SlotRange(0, 2, FIRST.address, (REPLICA.address,)),
    SlotRange(7, 7, FIRST.address, (REPLICA.address,)),
    SlotRange(100, 16383, SECOND.address, ()),
]
"""The slots in all recorded answers."""


@pytest.mark.parametrize("server", NODES)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_nodes(server: str, *, as_bytes: bool) -> None:
    """Every field of every line is parsed; Redis 6.2 has no hostnames."""
    answer = NODES[server].encode() if as_bytes else NODES[server]
    known = {member.identity: member for member in read_nodes(answer)}
    first = replace(FIRST, hostname="") if server == "Redis 6.2.14" else FIRST
    assert known == {A: first, B: SECOND, C: REPLICA, D: DEAD}
    assert ranges_of(known) == SLOT_RANGES
    assert known[A].slots == {0, 1, 2, 7}
    assert [identity for identity, member in known.items() if member.failed] == [D]


SLOTS_OF_62 = [
    [0, 2, [b"127.0.0.1", 24500, A.encode()], [b"127.0.0.1", 24502, C.encode()]],
    [7, 7, [b"127.0.0.1", 24500, A.encode()], [b"127.0.0.1", 24502, C.encode()]],
    [100, 16383, [b"127.0.0.1", 24501, B.encode()]],
]
"""The answer of Redis 6.2.14 to ``CLUSTER SLOTS``."""

SLOTS_SINCE_70 = [
    [0, 2, ["127.0.0.1", 24500, A, ["hostname", "left.example"]], ["127.0.0.1", 24502, C, []]],
    [7, 7, ["127.0.0.1", 24500, A, ["hostname", "left.example"]], ["127.0.0.1", 24502, C, []]],
    [100, 16383, ["127.0.0.1", 24501, B, []]],
]
"""The answer of Redis 7.0.15 and 8.0.2, Valkey 8.1.1 and 9.1.2."""

SLOTS_IN_RESP3 = [
    [0, 2, [b"127.0.0.1", 24500, A.encode(), {b"hostname": b"left.example"}], [b"127.0.0.1", 24502, C.encode(), {}]],
    [7, 7, [b"127.0.0.1", 24500, A.encode(), {b"hostname": b"left.example"}], [b"127.0.0.1", 24502, C.encode(), {}]],
    [100, 16383, [b"127.0.0.1", 24501, B.encode(), {}]],
]

SLOTS_UNKNOWN = [
    [0, 2, [None, 24500, A, ["ip", "127.0.0.1", "hostname", "left.example"]], [None, 24502, C, ["ip", "127.0.0.1"]]],
    [7, 7, [None, 24500, A, ["ip", "127.0.0.1", "hostname", "left.example"]], [None, 24502, C, ["ip", "127.0.0.1"]]],
    [100, 16383, [None, 24501, B, ["ip", "127.0.0.1"]]],
]
"""The answer with ``cluster-preferred-endpoint-type unknown-endpoint``."""


@pytest.mark.parametrize("answer", [SLOTS_OF_62, SLOTS_SINCE_70, SLOTS_IN_RESP3, SLOTS_UNKNOWN])
def test_slots(answer: list[Any]) -> None:
    """Owners and replicas of the slots are parsed, with any kind of endpoint."""
    known = {member.identity: member for member in read_slots(answer)}
    assert ranges_of(known) == SLOT_RANGES
    assert known[A].host == ("127.0.0.1" if answer is SLOTS_OF_62 else "left.example")
    assert (known[A].primary, known[C].primary) == (None, A)
    assert known[C].flags == {"slave"}


def test_slots_with_names() -> None:
    """A node with a missing hostname has its IP address."""
    answer = [[0, 2, ["left.example", 24500, A, ["ip", "127.0.0.1"]], ["?", 24502, C, ["ip", "127.0.0.1"]]]]
    known = {member.identity: member for member in read_slots(answer)}
    assert ranges_of(known) == [SlotRange(0, 2, "left.example:24500", ("127.0.0.1:24502",))]
    assert known[A].host == "left.example"


def _shard(slots: list[int], *nodes: Mapping[str, object]) -> dict[str, object]:
    """Return a shard in the form of ``CLUSTER SHARDS`` in RESP3."""
    usual = {"ip": "127.0.0.1", "endpoint": "127.0.0.1", "replication-offset": 14, "health": "online"}
    return {"slots": slots, "nodes": [{**usual, **node} for node in nodes]}


SHARDS = [
    _shard([], {"id": D, "port": 24503, "role": "master", "health": "fail"}),
    _shard(
        [0, 2, 7, 7],
        {"id": A, "port": 24500, "hostname": "left.example", "role": "master"},
        {"id": C, "port": 24502, "role": "replica"},
    ),
    _shard([100, 16383], {"id": B, "port": 24501, "role": "master"}),
]
"""The answer of Redis 7.0.15 and 8.0.2 and of Valkey 8.1.1 to ``CLUSTER SHARDS``."""

SHARDS_WITH_IDS = [{**shard, "id": str(number) * 40} for number, shard in enumerate(SHARDS)]
"""The answer of Valkey 9.1.2."""


@pytest.mark.parametrize("answer", [SHARDS, SHARDS_WITH_IDS])
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("resp3", [False, True])
def test_shards(answer: list[Any], *, resp3: bool, as_bytes: bool) -> None:
    """The nodes of each shard are parsed, including a dead one."""
    known = {member.identity: member for member in read_shards(_sent(answer, resp3=resp3, as_bytes=as_bytes))}
    assert ranges_of(known) == SLOT_RANGES
    assert [identity for identity, member in known.items() if member.failed] == [D]
    assert (known[A].host, known[A].primary, known[C].primary) == ("left.example", None, A)
    assert known[C].flags == {"slave"}


def test_shards_without_primary() -> None:
    """A replica in a shard without primary is a replica, and a port for TLS is a port."""
    answer = [_shard([], {"id": C, "tls-port": 24502, "role": "replica", "endpoint": "?"})]
    assert [*read_shards(answer)] == [Member(C, "127.0.0.1:24502", frozenset({"slave"}), primary="")]


def test_shards_after_a_failover() -> None:
    """A primary that died stays a primary of its shard, and owns none of its slots (Valkey 9.1.2)."""
    dead = {"id": A, "port": 24500, "role": "master", "health": "fail"}
    promoted = {"id": C, "port": 24502, "role": "master"}
    known = {member.identity: member for member in read_shards([_shard([0, 99], promoted, dead)])}
    assert ranges_of(known) == [SlotRange(0, 99, "127.0.0.1:24502", ("127.0.0.1:24500",))]
    assert known[A].failed


def _sent(told: Any, *, resp3: bool, as_bytes: bool) -> Any:
    """Return an answer in the form of a client: without maps in RESP2, as bytes unless it decodes."""
    if isinstance(told, dict):
        pairs = {_sent(name, resp3=resp3, as_bytes=as_bytes): told[name] for name in told}
        sent = {name: _sent(value, resp3=resp3, as_bytes=as_bytes) for name, value in pairs.items()}
        return sent if resp3 else [part for pair in sent.items() for part in pair]
    if isinstance(told, list | tuple):
        return [_sent(part, resp3=resp3, as_bytes=as_bytes) for part in told]
    return told.encode() if as_bytes and isinstance(told, str) else told


IDS = st.integers(0, 16**40 - 1).map("{:040x}".format)
PORTS = st.integers(0, 65535)
HOSTNAMES = st.from_regex(r"[a-z0-9.-]{0,20}", fullmatch=True)
SLOT = st.integers(0, SLOTS - 1)
FLAGS = st.sampled_from(["myself", "master", "slave", "fail?", "fail", "handshake", "noaddr", "nofailover", "noflags"])
PLACES = st.builds("{}:{}".format, st.ip_addresses().map(str), PORTS)


def _ranges(edges: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return disjoint ranges between neighbouring edges, without every second one."""
    return tuple((first, after - 1) for first, after in [*pairwise(sorted(edges))][::2])


RANGES = st.sets(st.integers(0, SLOTS), max_size=12).map(_ranges)
MEMBERS = st.builds(
    Member,
    IDS,
    PLACES | st.sampled_from([":0", "?:0", ":6379"]),
    flags=st.frozensets(FLAGS, min_size=1),
    primary=st.none() | IDS,
    ranges=RANGES,
    hostname=HOSTNAMES,
    bus_port=st.none() | PORTS,
    epoch=st.integers(0, 2**63),
    linked=st.booleans(),
    leaving=st.dictionaries(SLOT, IDS, max_size=3),
    arriving=st.dictionaries(SLOT, IDS, max_size=3),
)


def _line(member: Member, fields: str = "") -> str:
    """Return the line of ``CLUSTER NODES`` for a member, with further `fields` in its address."""
    bus = "" if member.bus_port is None else f"@{member.bus_port}"
    name = f",{member.hostname}" if member.hostname or fields else ""
    held = [f"{first}-{last}" if first < last else f"{first}" for first, last in member.ranges]
    opened = [f"[{slot}->-{other}]" for slot, other in member.leaving.items()]
    opened += [f"[{slot}-<-{other}]" for slot, other in member.arriving.items()]
    link = "connected" if member.linked else "disconnected"
    words = [member.identity, f"{member.address}{bus}{name}{fields}", ",".join(member.flags), member.primary or "-"]
    return " ".join([*words, "0", "1795962151760", str(member.epoch), link, *held, *opened])


@settings(deadline=None, max_examples=30)
@given(known=st.lists(MEMBERS), fields=st.sampled_from(["", f",shard-id={A}", f",nodename=left,shard-id={A}"]))
def test_lines_of_nodes_come_back(known: Sequence[Member], fields: str) -> None:
    """A parsed member has all fields of its line."""
    answer = "".join(f"{_line(member, fields)}\n" for member in known)
    assert [*read_nodes(answer)] == [*read_nodes(answer.encode())] == known


@st.composite
def clusters(draw: st.DrawFn) -> list[list[Member]]:
    """Draw shards, each with its primary first, and their slots."""
    ids = iter(draw(st.lists(IDS, min_size=9, max_size=9, unique=True)))
    held = draw(RANGES)
    shards = []
    for turn in range(number := draw(st.integers(1, 3))):
        primary = Member(next(ids), draw(PLACES), frozenset({"master"}), ranges=held[turn::number])
        replica = Member("", "", frozenset({"slave"}), primary=primary.identity)
        replicas = draw(st.lists(PLACES, max_size=2))
        shards.append([primary, *(replace(replica, identity=next(ids), address=place) for place in replicas)])
    return shards


def _answers(shards: Sequence[Sequence[Member]]) -> Iterator[tuple[Command, Any]]:
    """Yield the answers of a cluster to each command, in RESP3."""
    yield "NODES", "\n".join(_line(replace(member, epoch=1)) for shard in shards for member in shard)
    places = [[[*member.endpoint, member.identity, {}] for member in shard] for shard in shards]
    yield "SLOTS", [[*slots, *where] for shard, where in zip(shards, places, strict=True) for slots in shard[0].ranges]
    yield "SHARDS", [_shard_of(shard) for shard in shards]


def _shard_of(shard: Sequence[Member]) -> dict[str, object]:
    """Return a shard in the form of ``CLUSTER SHARDS``."""
    nodes = [
        {
            "id": member.identity,
            "ip": member.endpoint[0],
            "endpoint": member.endpoint[0],
            "port": member.endpoint[1],
            "role": "replica" if member.primary else "master",
        }
        for member in shard
    ]
    return _shard([edge for slots in shard[0].ranges for edge in slots], *nodes)


@settings(deadline=None)
@given(shards=clusters(), resp3=st.booleans(), as_bytes=st.booleans())
def test_all_commands_tell_the_same(shards: Sequence[Sequence[Member]], *, resp3: bool, as_bytes: bool) -> None:
    """All commands lead to the same slot map and the same members."""
    whole = {member.identity: member for shard in shards for member in shard}
    serving = {member.identity: member for shard in shards if shard[0].ranges for member in shard}
    for command, answer in _answers(shards):
        known = {m.identity: m for m in READERS[command](_sent(answer, resp3=resp3, as_bytes=as_bytes))}
        assert ranges_of(known) == ranges_of(whole), command
        seen = {identity: replace(member, epoch=None, linked=None) for identity, member in known.items()}
        assert seen == (serving if command == "SLOTS" else whole), command


def test_slots_without_ids() -> None:
    """Nodes without ids in CLUSTER SLOTS are distinguished by their addresses."""
    answer = [[0, 100, ["h", 1, ""]], [101, 16383, ["g", 2], ["g", 3, "", None]]]
    told = {member.address: (member.ranges, member.primary) for member in read_slots(answer)}
    assert told == {"h:1": (((0, 100),), None), "g:2": (((101, 16383),), None), "g:3": ((), "g:2")}


SECRET = f"#{sha256(b'secret').hexdigest()}"

REFUSALS: dict[str, tuple[dict[str, str], dict[str, list[str]], str]] = {
    "no passwords": ({"masterauth": ""}, {"default": ["on", "nopass"]}, ""),
    "one password": ({"masterauth": "secret"}, {"default": ["on", SECRET]}, ""),
    "a user for replicas": ({"masteruser": "copy", "masterauth": "secret"}, {"copy": ["on", SECRET]}, ""),
    "a certificate": ({"tls-auth-clients-user": "CN"}, {"default": ["off"]}, ""),
    "an old password": ({"masterauth": "old"}, {"default": ["on", SECRET]}, "no password of the user default"),
    "a password forgotten": ({"masterauth": ""}, {"default": ["on", SECRET]}, "it has no masterauth"),
    "a password too many": ({"masterauth": "secret"}, {"default": ["on", "nopass"]}, "has no password"),
    "a missing user": ({"masteruser": "copy", "masterauth": "secret"}, {}, "copy is off or missing"),
}
"""By case: settings of a node, users of its peer, and a part of the reason for a refusal."""


@pytest.mark.parametrize("case", REFUSALS)
def test_a_replication_password_is_compared_with_the_users_of_the_peer(case: str) -> None:
    """The reason names what the peer refuses; it is empty where the peer accepts."""
    own, users, why = REFUSALS[case]
    seen = refusal(own, users)
    assert (why in seen) is True
    assert bool(seen) is bool(why)


class Answers:
    """A node with these answers to the subcommands of CLUSTER."""

    def __init__(self, **answers: Any) -> None:
        """Take an answer for each subcommand; an exception is raised."""
        self._answers = answers

    def execute_command(self, _: str, command: str) -> Any:
        """Return the answer."""
        if isinstance(found := self._answers[command], Exception):
            raise found
        return found


LATE = f"{'e' * 40} 127.0.0.1:24504@34504,right.example slave {B} 0 1795962120224 2 connected\n"
"""A line of ``CLUSTER NODES`` about a replica that the slot map lacks."""


@pytest.mark.parametrize(
    ("answers", "addresses"),
    [
        pytest.param(SLOTS_SINCE_70, {A: "127.0.0.1:24500", "e" * 40: "127.0.0.1:24504"}, id="addresses"),
        pytest.param(
            [[0, 16383, ["left.example", 24500, A, []]]],
            {A: "left.example:24500", "e" * 40: "right.example:24504"},
            id="names",
        ),
    ],
)
def test_replica_that_the_slot_map_lacks(answers: Any, addresses: Mapping[str, str]) -> None:
    """A replica without a copy is known by ``CLUSTER NODES``, at the kind of address that clients get; no dead node."""
    node: Any = Answers(SLOTS=answers, NODES=NODES["Valkey 9.1.2"] + LATE)
    found = announced(node)
    assert {identity: found[identity].address for identity in addresses} == addresses
    assert found[A].ranges == FIRST.ranges
    assert D not in found


def test_nodes_without_the_right_to_ask() -> None:
    """The slot map alone names the nodes if the user may not run ``CLUSTER NODES``."""
    node: Any = Answers(SLOTS=SLOTS_SINCE_70, NODES=NoPermissionError("no permissions"))
    assert set(announced(node)) == {A, B, C}
