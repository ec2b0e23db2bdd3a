"""Send commands as Celery, a cache or a cluster client does, and compare each reply."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha1
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError, WatchError
from redis.utils import str_if_bytes

from fixtures.bdd.vocabulary import records, register
from fixtures.run.keys import Unsupported
from redis_practices.polling import poll
from redis_practices.redis_cluster.every_node import answers as nodes_answer
from redis_practices.redis_cluster.every_node import itself
from redis_practices.redis_cluster.failover import is_copying
from redis_practices.redis_cluster.topology import SLOTS, Member, slot_of
from steps.common.data_path import BATCH, KEEP, PATIENCE, Way

TTL = 600
"""Seconds of a ttl that no run sees end."""

LEFT = range(TTL // 2 + 1, TTL + 1)
"""The ttl that a server may report of it: neither without, nor halved, nor extended."""

Turn = tuple[Any, ...]
"""A command, with the right reply as its first element; a range allows each of its numbers."""

Talk = Callable[[str, str], Iterator[Turn]]
"""Yields the turns of one trial, for a key and a value."""

OLD = ("unknown command", "unknown subcommand", "syntax error", "wrong number of arguments", "unsupported option")
"""Words of an engine's errors about a command or an option that it lacks."""


def plain(reply: Any) -> Any:
    """Return a reply as turns write it: texts, numbers, lists; a set is sorted."""
    if isinstance(reply, set | frozenset):
        return sorted(map(plain, reply))
    return [plain(part) for part in reply] if isinstance(reply, list | tuple) else str_if_bytes(reply)


def is_right(reply: Any, right: Any) -> bool:
    """Tell whether a reply is the right one."""
    return reply in right if isinstance(right, range) else bool(plain(reply) == right)


def dialogue(name: str, meaning: str) -> Callable[[Talk], Talk]:
    """Register a load that sends the same commands for many keys, each command in pipelines.

    Both clients take turns: each command comes from the client that has not sent the one before.
    """

    def keep(talk: Talk) -> Talk:
        @register("load", name, meaning)
        @records("replies wrong", "replies of commands that are not the right ones, by command", unit="replies")
        def send(way: Way, count: int) -> None:
            converse(way, count, talk)

        return talk

    return keep


def converse(way: Way, count: int, talk: Talk) -> None:
    """Send the commands of all trials and count the wrong replies, by command.

    A cache that is full may evict a key between two commands. There the best of three measurements counts: a defect of
    the path shows in each.
    """
    wrong, said = answers(way, count, talk, 1)
    if wrong and is_evicting(way):
        again = [(wrong, said), *(answers(way, count, talk, attempt) for attempt in (2, 3))]
        wrong, said = min(again, key=lambda one: one[0].total())
    way.context.record("replies wrong", wrong.total(), ", ".join(wrong) + said)


def answers(way: Way, count: int, talk: Talk, attempt: int) -> tuple[Counter[str], str]:
    """Return the wrong replies to each command, and the first one in words.

    The keys of a trial share a hash tag, so that they have the same slot.
    """
    wrong, said = Counter[str](), ""
    keys = [f"{way.prefix}{attempt}:{{{number}}}" for number in range(count)]
    trials = [list(talk(key, f"{number}:{secrets.token_hex(4)}")) for number, key in enumerate(keys)]
    for place, turns in enumerate(zip(*trials, strict=True)):
        commands = [command for _, *command in turns]
        try:
            replies = list(batches(way.reader if place % 2 else way.writer, commands))
        except ResponseError as error:
            lacking(way, commands[0], error)
            raise
        except RedisConnectionError as error:
            raise AssertionError(f"the connection ends at {shown(commands[0])}: {error}") from None
        for (right, *command), reply in zip(turns, replies, strict=True):
            if not is_right(reply, right):
                wrong[command[0]] += 1
                said = said or f", first {shown(command)}: {plain(reply)!r} in place of {right!r}"
    return wrong, said


def is_evicting(way: Way) -> bool:
    """Tell whether a cache has evicted keys, as far as it says so."""
    if way.context.role != "cache":
        return False
    with suppress(ResponseError):
        return bool(way.reader.info("stats").get("evicted_keys", 0))
    return False


def shown(command: list[Any]) -> str:
    """Return a command without the prefix of its keys."""
    return " ".join(word.rpartition("}")[2] or "key" for word in map(str, command))


def batches(client: Any, commands: list[list[Any]]) -> Iterator[Any]:
    """Run commands in pipelines, and yield their replies in order."""
    for first in range(0, len(commands), BATCH):
        pipeline = client.pipeline(transaction=False)
        for command in commands[first : first + BATCH]:
            # redis-py makes a truth value of each reply to SET, unless it knows of GET; and pairs of scores.
            options = {flag.lower(): True for flag in ("GET", "WITHSCORES") if flag in command[3:]}
            pipeline.execute_command(*command, **options)
        yield from pipeline.execute()


def lacking(way: Way, command: list[Any], error: ResponseError) -> None:
    """Raise Unsupported if the user may not run a command, or a cache or cluster lacks it.

    Celery needs each command that it sends, so a broker without one is refused.
    """
    is_old = way.context.role != "broker" and any(words in str(error).lower() for words in OLD)
    if is_old or isinstance(error, NoPermissionError):
        words = [word for word in map(str, command) if word.isupper()]
        raise Unsupported(f"needs {' '.join(words)}, which the server refuses: {error}") from None


# Celery


@dialogue("task records", "a task that is recorded as taken, found by its age, and acknowledged, as kombu does")
def records_of_tasks(key: str, value: str) -> Iterator[Turn]:
    """Record two tasks, look for the older one, acknowledge both."""
    tasks, index = f"{key}:unacked", f"{key}:index"
    yield 1, "ZADD", index, 100, "new"
    yield 1, "ZADD", index, 50, "old"
    yield 1, "EXPIRE", index, KEEP
    yield 1, "HSET", tasks, "old", value
    yield value, "HGET", tasks, "old"
    yield ["old"], "ZRANGE", index, 60, 0, "BYSCORE", "REV"
    yield [["old", 50]], "ZRANGE", index, 60, 0, "BYSCORE", "REV", "WITHSCORES"
    yield 1, "ZREM", index, "old"
    yield 1, "HDEL", tasks, "old"
    yield None, "HGET", tasks, "old"
    yield 1, "ZREM", index, "new"
    yield 0, "EXISTS", index


@dialogue("stored results", "a result with its ttl that another client reads, and that is forgotten, as Celery does")
def stored_results(key: str, value: str) -> Iterator[Turn]:
    """Store a result, read it alone and with others, and delete it."""
    yield True, "SETEX", key, TTL, value
    yield value, "GET", key
    yield LEFT, "TTL", key
    yield [value, None], "MGET", key, f"{key}:none"
    yield 1, "EXISTS", key
    yield 1, "DEL", key
    yield 0, "EXISTS", key


@dialogue("chord parts", "the parts, counters and size of a chord, as Celery keeps them")
def chord_parts(key: str, value: str) -> Iterator[Turn]:
    """Record two parts out of order, count and read them."""
    parts, added = f"{key}.j", f"{key}.t"
    yield 1, "INCR", added
    yield True, "EXPIRE", added, KEEP
    yield 1, "ZADD", parts, 1, value
    yield True, "EXPIRE", parts, KEEP
    yield 1, "ZADD", parts, 0, "first"
    yield 2, "ZCOUNT", parts, "-inf", "+inf"
    yield 2, "INCRBY", added, 1
    yield ["first", value], "ZRANGE", parts, 0, -1
    yield 2, "DEL", parts, added
    yield None, "GET", added


@dialogue("queue tables", "the names of queues, a queue's two ends and the lock of a worker, as kombu keeps them")
def queue_tables(key: str, value: str) -> Iterator[Turn]:
    """Bind two queues and remove one; push on both ends; take a lock twice."""
    bound, queue, lock = f"{key}:binding", f"{key}:queue", f"{key}:mutex"
    yield 2, "SADD", bound, "one", "other"
    yield True, "EXPIRE", bound, KEEP
    yield ["one", "other"], "SMEMBERS", bound
    yield 1, "SREM", bound, "one"
    yield ["other"], "SMEMBERS", bound
    yield 1, "LPUSH", queue, "new"
    yield True, "EXPIRE", queue, KEEP
    yield 2, "RPUSH", queue, value
    yield 2, "LLEN", queue
    yield ["new", value], "LRANGE", queue, 0, -1
    yield True, "SET", lock, value, "NX", "PX", KEEP * 1000
    yield None, "SET", lock, "taken", "NX", "PX", KEEP * 1000
    yield value, "GET", lock
    yield 3, "DEL", bound, queue, lock


SCRIPT = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return {redis.call('GET', KEYS[1]), #ARGV}"
"""A script that writes and reads."""

DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dialogue("scripts", "scripts that are sent whole, and again by their digest")
def scripts(key: str, value: str) -> Iterator[Turn]:
    """Let a script write and read, then run it by its digest."""
    yield [value, 2], "EVAL", SCRIPT, 1, key, value, TTL * 1000
    yield DIGEST, "SCRIPT LOAD", SCRIPT
    yield [True], "SCRIPT EXISTS", DIGEST
    yield ["other", 2], "EVALSHA", DIGEST, 1, key, "other", TTL * 1000
    yield "other", "GET", key
    yield 1, "DEL", key


ENOUGH = 3
"""Lost items after which the next ones say nothing new."""


@register("load", "items for a waiting worker", "items that are pushed while a client waits for them in BRPOP")
@records("items lost or out of order", "items that came out lost, twice or at another place", unit="items")
def hand_out(way: Way, count: int) -> None:
    """Wait as a worker does, for any of four lists, and push one item each time."""
    lists = [way.prefix, *(f"{way.prefix}\x06\x16{step}" for step in (3, 6, 9))]
    wrong = 0
    with way.connect() as taker:
        waiting = taker.connection_pool.get_connection()
        ask = partial(waiting.send_command, "BRPOP", *lists, 1, check_health=False)
        for number in range(count):
            ask()
            way.writer.lpush(lists[number % len(lists)], number)
            taken = waiting.read_response(timeout=PATIENCE)
            if taken is None:  # the judge may have paused for the second that the server waits
                ask()
                taken = waiting.read_response(timeout=PATIENCE)
            wrong += plain(taken) != [lists[number % len(lists)], str(number)]
            if wrong > ENOUGH:  # each may have taken two seconds
                break
        taker.connection_pool.release(waiting)
    way.writer.delete(*lists)
    way.context.record("items lost or out of order", wrong)


@register("load", "transactions", "the record of a task, its announced result and its end, as Celery sends them")
@records("transactions split", "transactions whose replies are not those of their commands", unit="transactions")
def send_transactions(way: Way, count: int) -> None:
    """Record a task, store and announce its result, acknowledge it: three transactions of a worker in one."""
    split = 0
    for number in range(count):
        key, value = f"{way.prefix}{number}", secrets.token_hex(4)
        pipe = way.writer.pipeline(transaction=True)
        pipe.zadd(f"{key}:index", {"tag": 1}).hset(f"{key}:unacked", "tag", value)
        pipe.setex(key, KEEP, value).publish(key, value).get(key)
        pipe.zrem(f"{key}:index", "tag").hdel(f"{key}:unacked", "tag").delete(key)
        seen = pipe.execute()
        del seen[3]  # of PUBLISH, whose number of subscribers a proxy may not know
        split += seen != [1, 1, True, value, 1, 1, 1]
    left = way.reader.exists(*(f"{way.prefix}{number}" for number in range(count)))
    way.context.record("transactions split", split + left)


@register("load", "watched transactions", "transactions after WATCH; the other client changes the key of every second")
@records("transactions split", "transactions whose replies are not those of their commands", unit="transactions")
def watch(way: Way, count: int) -> None:
    """Watch a key; a transaction must be refused if the key was changed, and executed if not."""
    wrong = 0
    for number in range(count):
        is_changed = bool(number % 2)
        with way.writer.pipeline(transaction=True) as pipe:
            pipe.watch(way.prefix)
            if is_changed:
                way.reader.set(way.prefix, number, ex=KEEP)
            pipe.multi()
            pipe.set(way.prefix, "mine", ex=KEEP)
            try:
                pipe.execute()
            except WatchError:
                wrong += not is_changed
            else:
                wrong += is_changed
    way.writer.delete(way.prefix)
    way.context.record("transactions split", wrong)


@register("load", "messages in a row", "messages for a subscriber of a channel and for one of a pattern")
@records("messages lost or out of order", "messages that came lost, twice or at another place", unit="messages")
def send_row(way: Way, count: int) -> None:
    """Publish numbers, and read them with both subscribers until they unsubscribe."""
    wrong = 0
    with ExitStack() as ending:
        subscribers = [ending.enter_context(ending.enter_context(way.connect()).pubsub()) for _ in range(2)]
        subscribers[0].subscribe(way.prefix)
        subscribers[1].psubscribe(way.prefix)
        for subscriber in subscribers:
            assert subscriber.get_message(timeout=PATIENCE), f"no subscription was confirmed within {PATIENCE:g} s"
        list(way.batches(way.writer, [("PUBLISH", way.prefix, number) for number in range(count)]))
        for subscriber, end in zip(subscribers, ("unsubscribe", "punsubscribe"), strict=True):
            wrong += sum(seen != str(number) for number, seen in enumerate(read_row(subscriber, count)))
            getattr(subscriber, end)()
            last = subscriber.get_message(timeout=PATIENCE)
            wrong += not last or last["type"] != end
    way.context.record("messages lost or out of order", wrong)


def read_row(subscriber: Any, count: int) -> list[Any]:
    """Return the data of this number of messages, None for each that does not come in time."""
    found: list[Any] = []
    until = time.monotonic() + PATIENCE
    while len(found) < count and (left := until - time.monotonic()) > 0:
        if message := subscriber.get_message(timeout=left):
            found.append(message["data"])
    return found + [None] * (count - len(found))


# Caches and clusters


@dialogue("conditional writes", "writes of a new key, of a present one, and of a key whose old value is asked for")
def conditional_writes(key: str, value: str) -> Iterator[Turn]:
    """Write with NX, XX and GET; count up by whole and broken numbers."""
    yield True, "SET", key, value, "NX", "PX", TTL * 1000
    yield None, "SET", key, "other", "NX", "PX", TTL * 1000
    yield value, "GET", key
    yield True, "SET", key, "new", "XX", "PX", TTL * 1000
    yield None, "SET", f"{key}:none", "other", "XX", "PX", TTL * 1000
    yield None, "GET", f"{key}:none"
    yield "new", "SET", key, 10, "EX", TTL, "GET"
    yield 11, "INCR", key
    yield 15, "INCRBY", key, 4
    yield 15.5, "INCRBYFLOAT", key, 0.5
    yield LEFT, "TTL", key
    yield 1, "EXISTS", key
    yield 1, "DEL", key


@dialogue("conditional ttls", "a ttl that is set, kept, extended and shortened by the flags of EXPIRE")
def conditional_ttls(key: str, value: str) -> Iterator[Turn]:
    """Change a ttl under each condition, and leave it where the condition does not hold."""
    yield True, "SET", key, value, "EX", TTL
    yield False, "EXPIRE", key, 10 * TTL, "NX"
    yield True, "EXPIRE", key, 2 * TTL, "XX"
    yield False, "EXPIRE", key, TTL, "GT"
    yield False, "EXPIRE", key, 3 * TTL, "LT"
    yield range(TTL + 1, 2 * TTL + 1), "TTL", key
    yield True, "EXPIRE", key, TTL, "LT"
    yield True, "PEXPIRE", key, 500 * TTL, "LT"
    yield range(250 * TTL, 500 * TTL + 1), "PTTL", key
    yield 1, "DEL", key


@dialogue("deletions in every form", "a value that is deleted by DEL, UNLINK, GETDEL and a ttl of 0, and then read")
def deletions(key: str, value: str) -> Iterator[Turn]:
    """Write and delete one key in each form."""
    forms: list[Turn] = [(1, "DEL", key), (1, "UNLINK", key), (value, "GETDEL", key), (True, "EXPIRE", key, 0)]
    for form in forms:
        yield True, "SET", key, value, "EX", KEEP
        yield form
        yield None, "GET", key


@dialogue("reads of several keys", "values and fields that are read together, some of them absent")
def reads_together(key: str, value: str) -> Iterator[Turn]:
    """Read two keys with an absent one between them, and the fields of a hash in the same way."""
    yield True, "SET", f"{key}:a", "a", "EX", KEEP
    yield True, "SET", f"{key}:b", value, "PX", KEEP * 1000
    yield [value, None, "a"], "MGET", f"{key}:b", f"{key}:none", f"{key}:a"
    yield 2, "HSET", f"{key}:h", "value", value, "version", 1
    yield True, "PEXPIRE", f"{key}:h", KEEP * 1000
    yield ["1", None, value], "HMGET", f"{key}:h", "version", "none", "value"
    yield 3, "DEL", f"{key}:a", f"{key}:b", f"{key}:h"


MOST_KEYS = 200_000
"""Keys of a server from which on a whole SCAN costs other clients too much."""


@register("load", "keys to find by SCAN", "keys that one client writes and the other one looks for among all keys")
@records("keys missed", "written keys that the scan did not return", unit="keys")
def scan(way: Way, count: int) -> None:
    """Write keys, and scan all keys of the deployment for them."""
    keys = {f"{way.prefix}{number}" for number in range(count)}
    list(way.batches(way.writer, [("SET", key, "x", "EX", KEEP) for key in sorted(keys)]))
    if (size := way.reader.dbsize()) > MOST_KEYS:
        raise Unsupported(f"needs at most {MOST_KEYS} keys: a whole SCAN of {size} keys would delay other clients")
    missed = sorted(keys.difference(way.reader.scan_iter(match=f"{way.prefix}*", count=1000)))
    evicted = list(way.batches(way.reader, [("EXISTS", key) for key in missed])).count(0)
    list(way.batches(way.writer, [("UNLINK", key) for key in sorted(keys)]))
    way.context.record("keys missed", len(missed) - evicted)


@register("load", "writes that replicas confirm", "writes to each primary with a replica, each followed by WAIT")
@records("replicas that confirmed", "replicas that hold a write by the reply to WAIT, by primary", unit="replicas")
def confirm(way: Way, count: int) -> None:
    """Write to each primary and wait for one replica; then read the last write there (READONLY)."""
    with ExitStack() as ending:
        clients = {node.address: ending.enter_context(node.client()) for node in way.context.nodes("cluster")}
        known = [(one, clients[address]) for address, one in nodes_answer(clients, itself).items()]
        copies = {one.identity: [peer for other, peer in known if other.primary == one.identity] for one, _ in known}
        pairs = [(one, client) for one, client in known if one.slots and copies[one.identity]]
        if not pairs:
            raise Unsupported("needs a primary with a replica")
        for one, client in pairs:
            try:
                seen = confirmations(way.prefix, one, client, copies[one.identity], count)
            except ResponseError as error:
                lacking(way, ["WAIT", "READONLY"], error)
                raise
            if not seen and are_copying(client, *copies[one.identity]):
                raise Unsupported(f"a replica of {one.address} copies it: judge again when it has its copy")
            way.context.record("replicas that confirmed", seen, one.address)


def are_copying(*clients: Any) -> bool:
    """Tell whether one of these servers receives or saves a full copy; False where the servers refuse INFO."""
    with suppress(ResponseError):
        before = [client.info() for client in clients]
        return poll(lambda: any(map(is_copying, before, (client.info() for client in clients))), PATIENCE)
    return False


WAIT = 2000
"""Milliseconds in which a replica must confirm a write."""


def confirmations(prefix: str, one: Member, primary: Any, replicas: list[Any], count: int) -> int:
    """Return the fewest replicas that confirmed a write, or the number of those that hold the last one.

    More than there are is no confirmation.
    """
    key = next(key for key in (f"{prefix}{number}" for number in range(SLOTS**2)) if slot_of(key) in one.slots)
    least = len(replicas)
    for number in range(count):
        # A pipeline has one connection, and WAIT is about the writes of its connection.
        pipe = primary.pipeline(transaction=False)
        seen = pipe.set(key, number, ex=KEEP).execute_command("WAIT", 1, WAIT).execute()[1]
        least = min(least, seen if seen <= len(replicas) else 0)
        if not least:
            break  # each further WAIT would take its 2 s
    held = sum(holds(replica, key, str(count - 1)) for replica in replicas) if least else 0
    primary.delete(key)
    return min(least, held)


def holds(replica: Any, key: str, value: str) -> bool:
    """Tell whether a replica returns a value in time (READONLY)."""

    def read() -> Any:
        return replica.pipeline(transaction=False).readonly().get(key).execute()[1]

    return poll(lambda: str_if_bytes(read()) == value, PATIENCE)
