"""Read and write many keys of a cluster, and spread reads over its nodes.

redis-py's cluster pipeline makes objects for every command and writes to one node after another. Here hiredis packs
each node's commands in one piece, and all nodes work at the same time. The replies have the order of the commands. A
key whose slot has moved is read again at its new node (``MOVED``, ``ASK``).

Use the client instead for transactions, and for commands with several keys.

After an interrupt or a lost connection, the connections of a call are closed: no reply answers a later command. Some
commands of the call may have been done. After a failover the first call fails, and the next one knows the new primary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import hiredis
from redis import Redis
from redis.cluster import LoadBalancingStrategy, RedisCluster
from redis.connection import Connection
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, SlotNotCoveredError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_practices.clients import Packed, as_text, cluster_client
from redis_practices.redis_cluster.topology import slot_of

Command = tuple[Any, ...]
"""The words of a command; the second one is the key."""

BATCH = 1000
"""Commands in flight to a node: more do not help, and the replies must fit into memory."""

Answer = Any


def bulk(cluster: RedisCluster, commands: Sequence[Command], batch: int = BATCH) -> list[Answer]:
    """Run `commands`, each with one key, and return their replies in order; a refused command gives its error.

    Text is sent as UTF-8; replies are bytes or text as the client was made. Up to `batch` commands a node are in
    flight.

    Raises:
        redis.exceptions.RedisError: a node does not answer; it may or may not have run its commands.
    """
    answers: list[Answer] = [None] * len(commands)
    groups = _by_owner(cluster, commands)
    try:
        for pieces in itertools.zip_longest(*(_pieces(node, places, batch) for node, places in groups)):
            _run([piece for piece in pieces if piece], commands, answers)
    except (RedisConnectionError, RedisTimeoutError):
        cluster.nodes_manager.initialize()  # so that the next call knows the new primary
        raise
    for place, answer in enumerate(answers):
        if isinstance(answer, MovedError | AskError | TryAgainError):
            answers[place] = _again(cluster, commands[place])
    return answers


def read_bulk(cluster: RedisCluster, keys: Sequence[str]) -> list[Answer]:
    """Return the values of `keys` in their order (``GET``)."""
    return bulk(cluster, [("GET", key) for key in keys])


def write_bulk(cluster: RedisCluster, values: Iterable[tuple[str, str | bytes]], ttl: int) -> list[Answer]:
    """Write keys and values with a ttl of `ttl` seconds (``SET ... EX``), and return each reply."""
    return bulk(cluster, [("SET", key, value, "EX", str(ttl)) for key, value in values])


def pipelined(server: Redis, commands: Sequence[Command], batch: int = BATCH) -> list[Answer]:
    """Run `commands` on one server in the same way; any command with one reply will do."""
    answers: list[Answer] = [None] * len(commands)
    for piece in _pieces(server, list(range(len(commands))), batch):
        _run([piece], commands, answers)
    return answers


def packed(commands: Iterable[Command]) -> bytes:
    """Return the bytes of the commands on the wire."""
    return b"".join([hiredis.pack_command(as_text(command)) for command in commands])


def _by_owner(cluster: RedisCluster, commands: Sequence[Command]) -> list[tuple[Redis, list[int]]]:
    """Return the client of each node with the indexes of the commands for its slots."""
    slots = cluster.nodes_manager.slots_cache
    groups: dict[str, tuple[Any, list[int]]] = {}
    for place, command in enumerate(commands):
        slot = slot_of(command[1])
        if slot not in slots:
            raise SlotNotCoveredError(f"slot {slot} is covered by no node")
        node = slots[slot][0]
        if node.name not in groups:
            groups[node.name] = (node, [])
        groups[node.name][1].append(place)
    return [(cluster.get_redis_connection(node), places) for node, places in groups.values()]


def _pieces(server: Redis, places: list[int], batch: int) -> Iterator[tuple[Redis, list[int]]]:
    """Yield a node's indexes in pieces of at most `batch`."""
    for first in range(0, len(places), batch):
        yield server, places[first : first + batch]


def _run(pieces: list[tuple[Redis, list[int]]], commands: Sequence[Command], answers: list[Answer]) -> None:
    """Send each node its piece, then read all replies; a connection that failed in between is closed."""
    taken: list[tuple[Redis, Connection, list[int]]] = []
    done = False
    try:
        for server, places in pieces:
            connection = server.connection_pool.get_connection()
            taken.append((server, connection, places))
            connection.send_packed_command(Packed([packed([commands[place] for place in places])], len(places)))
        for _, connection, places in taken:
            for place in places:
                answers[place] = _read(connection)
        done = True
    finally:
        for server, connection, _ in taken:
            if not done:
                # Replies may still be on their way: the connection must not go back to the pool.
                connection.disconnect()
            server.connection_pool.release(connection)


def _read(connection: Connection) -> Answer:
    """Return the next reply, or the server's error."""
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _again(cluster: RedisCluster, command: Command) -> Answer:
    """Run one command through the client, which follows redirections."""
    try:
        return cluster.execute_command(*command)
    except RedisError as error:
        return error


def read_fields_apart(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Naive: the fields of one user lie in different slots, so the client needs a command for each slot."""
    return list(cluster.mget_nonatomic([f"user:42:{field}" for field in fields]))


def read_fields_together(cluster: RedisCluster, fields: Sequence[str]) -> list[Any]:
    """Tuned: a hash tag puts the fields of one user into one slot, where one command reads them (``MGET``).

    Not for all of your keys: keys with one tag share one node, its memory and its processor.
    """
    answer: Any = cluster.mget([f"{{user:42}}:{field}" for field in fields])
    return list(answer)


def read_each(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: read key after key from the primaries."""
    return [cluster.get(key) for key in keys]


def read_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Better: redis-py's cluster pipeline, one round trip a node."""
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(key)
        return list(pipe.execute())


def read_tagged_by_pipeline(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Read keys with one hash tag by a pipeline, which goes to one node instead of all.

    It saves no round trip, since redis-py writes to all nodes before it reads from any. It saves the client the writes
    to and reads from further nodes: a tenth of its time for 30 commands, too little to measure for 300. And one server
    does all the work.
    """
    with cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(f"{{tag}}{key}")
        return list(pipe.execute())


def read_by_node(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: one packed pipeline a node, all nodes at the same time; see `redis_practices.tuning.bulk`."""
    return read_bulk(cluster, keys)


def read_from_all(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: primaries and replicas take turns (``READONLY``); a replica may lag behind your last write."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN)


def read_from_replicas(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: only replicas answer, and primaries are left to writes."""
    return _balanced(cluster, keys, LoadBalancingStrategy.ROUND_ROBIN_REPLICAS)


def _balanced(cluster: RedisCluster, keys: Sequence[str], strategy: LoadBalancingStrategy) -> list[Any]:
    """Read key after key with a client of that load balancing strategy."""
    node = cluster.get_default_node()
    options = {"decode_responses": True, "password": cluster.get_connection_kwargs().get("password")}
    url = f"redis://{node.host}:{node.port}"
    with cluster_client(url, load_balancing_strategy=strategy, **options) as client:
        return [client.get(key) for key in keys]


COPIES = 16


def read_hot_key(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Naive: every client reads the same hot key, so one node serves all of them."""
    return [cluster.get("hot") for _ in keys]


def read_hot_copies(cluster: RedisCluster, keys: Sequence[str]) -> list[Any]:
    """Tuned: copies on all nodes, read in turn; a write must change every copy, so only for rare writes."""
    return [cluster.get(f"hot:{number % COPIES}") for number in range(len(keys))]
