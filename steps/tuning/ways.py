"""The catalogue of ways: what the tables of tuning compare.

A way is made for a scenario. It works on keys, and is timed or counted; or it measures itself, and is its costs. The
naive and the tuned way of a practice stand side by side in `redis_practices.tuning`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from threading import Timer
from typing import Any, Literal

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from fixtures.bdd.vocabulary import register, restrict
from fixtures.context import Context
from fixtures.proxies.streams import RespProxy
from fixtures.proxies.tampering import LostReply
from fixtures.run.keys import Unsupported
from fixtures.run.options import OPTIONS
from fixtures.stacks.protocols import need
from redis_practices.clients import redis_client
from redis_practices.polling import eventually, join
from redis_practices.pure_cache.near_cache import NearCache
from redis_practices.tuning import bulk, connections, load, memory, round_trips, scaling
from redis_practices.tuning.measuring import PLAIN, counted
from steps.common.deployments import Values

Way = Callable[[Sequence[str]], object]
"""Works on keys."""

Costs = Mapping[str, Any]
"""By column of a table, what a way cost."""


def way(name: str, meaning: str) -> Any:
    """Register a way: a function of the context and of the placeholders in the name."""
    return register("way", name, meaning)


def on_values(work: Callable[..., object], context: Context, **words: Any) -> Way:
    """Work on keys with the client of the scenario's values."""
    client = context.part(Values).client
    return lambda keys: work(client, keys, **words)


def read_packed(server: Redis, keys: Sequence[str], batch: int) -> list[Any]:
    """Read keys with N commands in flight, which hiredis packs in one piece."""
    return bulk.pipelined(server, [("GET", key) for key in keys], batch=batch)


TOGETHER = {
    "MGET": round_trips.read_together,
    "MSET": round_trips.write_together,
    "MSETEX": round_trips.expiring_together,
}
APART = {"SET": round_trips.set_then_expire, "HSET": round_trips.set_fields_then_expire}
WITH_TTL = {"SET": round_trips.set_with_ttl, "HSETEX": round_trips.set_fields_with_ttl}


def run_together(client: Any, keys: Sequence[str], command: str, size: int) -> object:
    """Run one command for N keys."""
    return TOGETHER[command](client, keys, size)


def expire_apart(client: Any, keys: Sequence[str], command: str, ttl: str) -> object:
    """Write with one command and give the ttl with another one."""
    assert ttl in {"EXPIRE", "HPEXPIRE"}, ttl
    return APART[command](client, keys)


def write_with_ttl(client: Any, keys: Sequence[str], command: str) -> object:
    """Write with a ttl."""
    return WITH_TTL[command](client, keys)


BALANCED = {"all nodes": bulk.read_from_all, "replicas": bulk.read_from_replicas}


def read_balanced(client: Any, keys: Sequence[str], nodes: str) -> object:
    """Read from all nodes in turn, or from replicas alone."""
    return BALANCED[nodes](client, keys)


def connect_each_time(client: Any, keys: Sequence[str]) -> list[Any]:
    """Read each key by a new client."""
    is_cluster = isinstance(client, RedisCluster)
    return (connections.cluster_each_time if is_cluster else connections.connect_each_time)(client, keys)


def read_with_stale_map(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Read by one pipeline a node, after all slots were noted as those of one primary."""
    slots = cluster.nodes_manager.slots_cache
    first = slots[0]
    for slot in slots:
        slots[slot] = first
    return bulk.read_by_node(cluster, keys)


for name, meaning, work in (
    ("GET one at a time", "each read waits for its reply", round_trips.one_at_a_time),
    ("GET in pipelines of {depth:d}", "N reads are sent before their replies are read", round_trips.in_pipelines),
    ("GET in packed pipelines of {batch:d}", "the same, packed by hiredis in one piece", read_packed),
    ("{command:w} of {size:d}", "one command reads or writes N keys: MGET, MSET, MSETEX with a ttl", run_together),
    ("SET one at a time", "each write waits for its reply", round_trips.write_each),
    ("{command:w}, then {ttl:w}", "a value, or a field of a hash, and its ttl take a command each", expire_apart),
    ("{command:w} with EX", "one command sets something with its ttl", write_with_ttl),
    ("WATCH, GET, SET", "an optimistic transaction reads, computes and writes", round_trips.read_modify_write),
    ("a script", "a script computes where the data is (EVALSHA)", round_trips.by_script),
    ("a function", "a function of the server does the same (FCALL)", round_trips.by_function),
    ("GET, a new client each time", "each read connects, and fetches the slot map of a cluster", connect_each_time),
    ("GET by {threads:d} threads, {connections:d} connections", "threads share a pool", connections.pool_of),
    ("redis-py's cluster pipeline", "redis-py sends a pipeline to each node", bulk.read_by_pipeline),
    ("redis-py's cluster pipeline, one hash tag", "all keys share one node", bulk.read_tagged_by_pipeline),
    ("one pipeline a node", "`redis_practices.tuning.bulk` sends one packed pipeline a node", bulk.read_by_node),
    ("one pipeline a node, stale slot map", "the same; most nodes reply MOVED", read_with_stale_map),
    ("GET from {nodes}", "these nodes reply to reads", read_balanced),
    ("MGET of keys in many slots", "the client sends a command a slot", bulk.read_fields_apart),
    ("MGET of keys with one hash tag", "one command reads keys of one slot", bulk.read_fields_together),
    ("GET of one hot key", "each read is of the same key", bulk.read_hot_key),
    ("GET of copies of a hot key", "16 copies of the key take turns", bulk.read_hot_copies),
):
    way(name, meaning)(partial(on_values, work))
restrict(
    "way", "GET from {nodes}", {"all nodes": "primaries and replicas take turns", "replicas": "replicas alone reply"}
)
restrict("way", "{command:w} with EX", {"SET": "a value", "HSETEX": "a field of a hash"})


@dataclass
class Opened:
    """What ways hold open until their sentence ends."""

    ending: ExitStack
    client_seconds: float = 0.0
    """Processor time that client processes have used."""

    @classmethod
    def of(cls, _: Context) -> Opened:
        """Begin with nothing."""
        return cls(ExitStack())


def prepared(make: Callable[..., Any], context: Context, **words: Any) -> Way:
    """Prepare a way that holds something open."""
    found: Way = context.part(Opened).ending.enter_context(make(context.part(Values).client, **words))
    return found


for name, meaning, prepare in (
    ("asyncio, {tasks:d} at once", "N tasks read, each over its own connection", connections.tasks_of),
    ("GET of a whole document", "a document of 5 KB is one value", memory.whole_document),
    ("HGET of one field", "the document is a hash", memory.one_field),
):
    way(name, meaning)(partial(prepared, prepare))


@way("lists of {items:d} by {parser}", "a client with this parser, hiredis or redis-py's, reads lists of this length")
def parse_lists(context: Context, items: int, parser: str) -> Way:
    """Read a list in a process that has this parser."""
    client, key = context.server.client(), f"list:{items}"
    client.delete(key)
    client.rpush(key, *["x" * 100] * items)
    opened, commands = context.part(Opened), [("LRANGE", key, "0", "-1")] * min(200, 5000 // items)
    kind: Literal["python", "compiled"] = "compiled" if parser == "hiredis" else "python"
    run = opened.ending.enter_context(connections.client_process(client, kind))

    def read(_: Sequence[str]) -> None:
        opened.client_seconds += run(commands, 1)[0]

    return read


def start_servers(make: Callable[..., Callable[[], object]], context: Context, **words: Any) -> Way:
    """Start what the way works on; it needs no keys."""
    run = make(context.private, **words)
    return lambda _: run()


def write_with_log(servers: Any, policy: str) -> Callable[[], object]:
    """Start a server that logs its writes with this policy, and return writes to it."""
    return scaling.writing_with({**PLAIN, "appendonly": "yes", "appendfsync": policy}, servers)


def read_with_threads(servers: Any, threads: int) -> Callable[[], object]:
    """Start a server with N threads for its sockets, and return reads from it."""
    return scaling.reading_with({**PLAIN, "io-threads": threads}, servers)


def read_over(servers: Any, transport: str) -> Callable[[], object]:
    """Start a server, and return reads over a transport."""
    return (scaling.over_tcp if transport == "TCP" else scaling.over_unix_socket)(servers)


for name, meaning, start in (
    ("writes, nothing on disk", "100 writes, no persistence", partial(scaling.writing_with, PLAIN)),
    ("writes, appendfsync {policy:w}", "100 writes, an append-only file with this policy", write_with_log),
    ("reads, io-threads {threads:d}", "4000 reads of 1 KB by a client that costs nearly nothing", read_with_threads),
    ("reads over {transport}", "200 single reads over TCP on the loopback, or over a unix socket", read_over),
):
    way(name, meaning)(partial(start_servers, start))


def serve_requests(share: Callable[..., list[int]], context: Context) -> Way:
    """Serve 20 requests of 20 ms, shared between the primaries of the scenario."""
    nodes = context.cluster.nodes
    return lambda _: scaling.seconds_of(nodes, share(nodes), 0.02)


@way("requests to uneven owners", "the same, after one primary was given 80 % of the slots, which hold no keys")
def serve_unevenly(context: Context) -> Way:
    """Give the first primary most slots, then serve the requests."""
    scaling.give_most_to_first(context.cluster.nodes)
    return serve_requests(scaling.on_owners, context)


for name, meaning, share in (
    ("requests to one primary", "one primary serves 20 requests of 20 ms", scaling.on_one),
    ("requests to the owners", "the owners of their keys serve the same requests", scaling.on_owners),
):
    way(name, meaning)(partial(serve_requests, share))


# Ways that measure themselves


def take_memory(write: Callable[..., None], count: int, context: Context) -> Costs:
    """Write the values to the emptied server of the scenario."""
    with context.server.client() as client:
        return {"MEMORY": memory.bytes_of(client, write, count)}


for name, meaning, write, count in (
    ("a key a value", "20,000 small values, each in a key", memory.keys_each, 20_000),
    ("100 values a hash", "the same values in hashes of 100 fields", memory.keys_packed, 20_000),
    ("long names", "20,000 keys with names of 60 characters", memory.long_names, 20_000),
    ("short names", "20,000 keys with names of 12 characters", memory.short_names, 20_000),
):
    way(name, meaning)(partial(take_memory, write, count))


TEXTS = {"plain": memory.plain_texts, "compressed": memory.compressed_texts}


@way("{form:w} texts", "100 texts of 4 KB")
def take_memory_of_texts(context: Context, form: str) -> Costs:
    """Write them to the emptied server of the scenario."""
    return take_memory(TEXTS[form], 100, context)


restrict("way", "{form:w} texts", {"plain": "as they are", "compressed": "by zlib"})

LAYOUTS = {"a key a value": memory.keys_each_with_ttl, "100 values a hash": memory.keys_packed_with_ttl}


@way("{layout}, with ttls", "20,000 small values with a ttl each")
def take_memory_with_ttls(context: Context, layout: str) -> Costs:
    """Write them to the emptied server of the scenario."""
    return take_memory(LAYOUTS[layout], 20_000, context)


restrict(
    "way",
    "{layout}, with ttls",
    {"a key a value": "each key has a ttl", "100 values a hash": "each field of the hashes has a ttl"},
)


def list_keys(command: str, list_all: Callable[..., object], context: Context) -> Costs:
    """List the keys of the scenario's server, and ask it how long one call took."""
    with context.server.client(socket_timeout=60) as client:
        return {"TIME BLOCKED": memory.busy_with(client, command, list_all, f"{context.key_prefix}*")}


way("KEYS", "one call lists all keys")(partial(list_keys, "KEYS", memory.list_at_once))
way("SCAN", "each call lists some of the keys")(partial(list_keys, "SCAN", memory.list_in_steps))

HASH = "for i = 1, 10000 do redis.call('HSET', KEYS[1], i, 'value ' .. i) end"


def free(delete: Callable[..., None], lazy: str, context: Context) -> Costs:
    """Delete a hash of 10,000 fields, and count what was left to the background."""
    with context.server.client(socket_timeout=60) as client:
        client.config_set("lazyfree-lazy-user-del", lazy)
        client.eval(HASH, 1, "big")
        before, begun = client.info("memory")["lazyfreed_objects"], time.perf_counter()
        delete(client, "big")
        blocked = time.perf_counter() - begun
        eventually(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, within=20.0)
        freed = client.info("memory")["lazyfreed_objects"] - before
        return {"OBJECTS FREED IN THE BACKGROUND": freed, "TIME BLOCKED": 1000 * blocked}


for name, meaning, delete, lazy in (
    ("DEL", "the server frees a hash of 10,000 fields before it replies", memory.delete_at_once, "no"),
    ("UNLINK", "the server replies, then frees the hash", memory.delete_lazily, "no"),
    ("DEL, lazyfree-lazy-user-del", "the server treats DEL as UNLINK", memory.delete_at_once, "yes"),
):
    way(name, meaning)(partial(free, delete, lazy))


def read_often(context: Context, *, opens: bool, change_at: int | None = None) -> Costs:
    """Read 100 keys 50 times each; a change must be read within a second."""
    values = context.part(Values)
    read, changed = values.client.get, values.keys[0]
    with context.server.client() as other, counted(other) as cost, ExitStack() as ending:
        if opens:
            near = ending.enter_context(NearCache(values.client, context.key_prefix))
            eventually(lambda: near.listening, within=5.0)
            read = near.get
        for number in range(5000):
            if number == change_at:
                other.set(changed, "changed")
                eventually(lambda: read(changed) == "changed", within=1.0)
            read(values.keys[number % 100])
    return {"KEY READS": cost.calls.get("get", 0)}


way("no near cache", "each of 5000 reads of 100 keys asks the server")(partial(read_often, opens=False))
way("a near cache", "the client keeps what it read until the server invalidates it")(partial(read_often, opens=True))
way("a near cache, one key changes", "the same; another client writes one key after half of the reads")(
    partial(read_often, opens=True, change_at=2500)
)


def hits(context: Context) -> Mapping[str, float]:
    """Measure the hits of caches that evict by LRU and by LFU, for the same reads, and of random evictions."""
    chance, lru, lfu = memory.hit_ratios(context.private, (memory.RANDOM, memory.LRU, memory.LFU))
    context.measure("hits of random evictions", unit="%", seen=round(chance, 1))
    return {"LRU": lru, "LFU": lfu}


@way("eviction by {policy:w}", "a cache evicts the key not read for longest (LRU), or the one read least often (LFU)")
def evict(context: Context, policy: str) -> Costs:
    """Return the hits with this policy."""
    return {"HITS": context.part(hits)[policy]}


LOOPS = {"closed": load.closed_loop, "open": load.open_loop}


@way("{kind:w} loop, server paused for {pause:g} s", "requests wait for the last reply (closed), or have a time (open)")
def read_paused(context: Context, kind: str, pause: float) -> Costs:
    """Send 200 requests in a second, while the server is paused in the middle."""

    def hang() -> None:
        context.server.pause()
        time.sleep(pause)
        context.server.resume()

    values, hanging = context.part(Values), Timer(0.3, hang)
    hanging.start()
    times = LOOPS[kind](values.client, values.keys, 200, 1.0)
    join(hanging)
    slow = sum(seconds > 0.1 for seconds in times)  # noqa: PLR2004 - the column's name has it
    return {"REPLIES OVER 0.1 S": slow, "P99": 1000 * load.percentile(times, 99)}


@way("open loop at {share:d} % of a closed one", "requests at a share of the rate that a loop of single reads reaches")
def read_at_rate(context: Context, share: int) -> Costs:
    """Time replies at a share of the rate that a loop of single reads reaches."""
    values, begun = context.part(Values), time.perf_counter()
    round_trips.one_at_a_time(values.client, values.keys)
    rate = len(values.keys) / (time.perf_counter() - begun) * share / 100
    [seen] = load.by_load(values.client, values.keys, [rate], 0.25)
    return {"REQUESTS A SECOND": seen.pop("rate"), **{name.upper(): ms for name, ms in seen.items()}}


@way("{kind:w} timeouts, server paused for {pause:g} s", "a read with timeouts of 0.2 s (short), or without (no)")
def wait_for_paused(context: Context, kind: str, pause: float) -> Costs:
    """Read from a paused server with this client."""
    make, least = PATIENCE[kind]
    seconds = connections.seconds_blocked(context.server, make, pause)
    assert seconds >= least * pause, f"the client had its reply after {seconds:.2f} s: the server was not paused"
    return {"TIME BLOCKED": 1000 * seconds}


PATIENCE: Mapping[str, tuple[Callable[..., Redis], float]] = {
    "no": (connections.client_without_timeouts, 1),
    "short": (connections.client_with_timeouts, 0),
}
"""Clients by the kind of their timeouts, with the share of the pause that each waits at least."""

CLIENTS: Mapping[str, Callable[[int], Redis]] = {
    "redis-py": lambda port: Redis(port=port),
    "redis_client": lambda port: redis_client(f"redis://127.0.0.1:{port}"),
}


@way("INCR by {client}, its reply lost", "the server has done it, and the connection ends before the reply")
def lose_reply(context: Context, client: str) -> Costs:
    """Lose one reply, and count how often the server has done the command."""
    losing = LostReply()
    proxy = context.part(Opened).ending.enter_context(closing(RespProxy(context.server.port, losing)))
    with CLIENTS[client](proxy.port) as caller, context.server.client() as observer, counted(observer) as cost:
        losing.lose(b"INCRBY")
        with suppress(RedisError):
            caller.incr("count:1")
    assert losing.lost == 1, "no reply was lost"
    return {"COMMANDS": cost.calls["incrby"]}


def vanished(context: Context) -> tuple[float, float]:
    """Cut a client off from a server without keepalive and from one with it; count what the servers still list."""
    need(context.stack, "cut networks")
    try:
        without, with_keepalive = connections.vanished(context.request.config.stash[OPTIONS].server_binary)
    except connections.NoNamespaceError as error:
        raise Unsupported(str(error)) from None
    return without, with_keepalive


@way("tcp-keepalive {seconds:d}", "the server asks a client that is silent for so long; 0 never asks")
def lose_client(context: Context, seconds: int) -> Costs:
    """Return the clients that a server with this setting still lists."""
    without, with_keepalive = context.part(vanished)
    return {"CLIENTS LISTED": int(with_keepalive if seconds else without)}


@way("tcp-backlog {length:d}", "60 clients connect to a server with such a queue while it is paused")
def connect_to_queue(context: Context, length: int) -> Costs:
    """Count the clients that find room in the queue of a paused server."""
    server = context.private.server({**connections.LONG_QUEUE, "tcp-backlog": length})
    return {"CLIENTS CONNECTED": connections.connected_at_once(server)}


@way("one primary busy for {seconds:g} s", "clients ask the other primaries meanwhile")
def keep_busy(context: Context, seconds: float) -> Costs:
    """Keep the first primary busy, and count the replies of the other primaries meanwhile."""
    own, others = scaling.busy_and_bystanders(context.cluster.nodes, seconds)
    assert own >= seconds, f"the busy primary replied after {own:.2f} s: it was not busy"
    blocked = max(median(waits) if waits else own for waits in others)
    return {"REPLIES OF THE SLOWEST OTHER SHARD": min(map(len, others)), "TIME BLOCKED": 1000 * blocked}


@way("a cluster of size {primaries:d}", "clients read from a cluster of N primaries")
def read_cluster(context: Context, primaries: int) -> Costs:
    """Read from a new cluster of this size, by raw bytes and by redis-py."""
    raw, client = scaling.reads_of(context.private, primaries).values()
    return {
        "READS A SECOND BY RAW BYTES": round(raw.rate),
        "READS A SECOND BY REDIS-PY": round(client.rate),
        "LIMIT OF RAW BYTES": str(raw),
        "LIMIT OF REDIS-PY": str(client),
    }


@way("repl-backlog-size {size:w}", "a replica is cut off while 5 MB are written, and returns")
def return_replica(context: Context, size: str) -> Costs:
    """Count the full copies that a replica's return takes."""
    config = {**scaling.QUICK_COPY, "repl-backlog-size": size}
    return {"FULL COPIES": scaling.full_copies(context.private, config)}


def set_node_timeout(context: Context, seconds: float) -> None:
    """Set ``cluster-node-timeout`` on every node."""
    for node in context.cluster.nodes:
        with node.client() as client:
            client.config_set("cluster-node-timeout", round(seconds * 1000))


@way("node timeout of {timeout:g} s, pause of {pause:g} s", "a primary is paused; it is resumed when it is replaced")
def pause_primary(context: Context, timeout: float, pause: float) -> Costs:
    """Pause the first primary of a cluster with this node timeout; a lent cluster gets its own back."""
    context.ending.callback(set_node_timeout, context, context.cluster.node_timeout)
    set_node_timeout(context, timeout)
    seconds = scaling.seconds_replaced(context.cluster, pause)
    return {"FAILOVERS": int(seconds is not None), **({"TIME UNTIL REPLACED": seconds} if seconds else {})}
