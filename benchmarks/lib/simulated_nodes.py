"""Speak for the nodes of a large cluster, whose answers are made: a loopback address for each node, one process.

The answers about settings, fields and users are a real server's. The maps are those of a settled cluster: a line for
each node, in another order at each node. Nothing is stored, and no node talks to another. The program shows what asking
costs, not how servers do.

`every_node.py` calls `run` in another process, with the arguments URL-OF-A-SERVER PORT NUMBER.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from hashlib import sha1

from redis_practices.clients import redis_client
from redis_practices.redis_cluster.every_node import Asked, ask_every
from redis_practices.redis_cluster.formation import even_ranges

COPIED = (("CONFIG", "GET", "*"), ("INFO", "everything"), ("ACL", "LIST"))
"""Questions that a real server answers."""


def identity(index: int) -> str:
    """Return the id of a node."""
    return sha1(b"%d" % index, usedforsecurity=False).hexdigest()


def host(index: int) -> str:
    """Return the address of a node; Linux has all of 127.0.0.0/8."""
    return f"127.1.{index // 250}.{index % 250 + 1}"


def map_lines(port: int, number: int) -> list[str]:
    """Return the lines of ``CLUSTER NODES`` about `number` nodes, the second half replicas of the first."""
    primaries = even_ranges(number // 2)
    return [
        f"{identity(index)} {host(index)}:{port}@{port + 10000} "
        + (
            f"master - 0 1796000000000 {index + 1} connected {primaries[index][0]}-{primaries[index][1]}"
            if index < len(primaries)
            else f"slave {identity(index % len(primaries))} 0 1796000000000 {index % len(primaries) + 1} connected"
        )
        for index in range(number)
    ]


def copied_answers(url: str) -> dict[bytes, bytes]:
    """Return the real answers as bytes, by the first word of their questions."""
    found: dict[bytes, bytes] = {}

    async def look(asked: Asked) -> None:
        for question in COPIED:
            reply = await asked(*question)
            parts = reply if isinstance(reply, list) else [reply]
            body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            found[question[0].encode()] = (b"*%d\r\n" % len(parts) if isinstance(reply, list) else b"") + body

    for error in ask_every({url: redis_client(url)}, look).values():
        raise error
    return found


class Node(asyncio.Protocol):
    """One connection to a simulated node; a command is known by its words, of which the last ones may be cut off."""

    def __init__(self, index: int, lines: list[str], answers: dict[bytes, bytes]) -> None:
        """Speak for the node with this index."""
        self.index, self.lines, self.answers = index, lines, answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what writes to the client."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each command; the clients of the benchmark send whole commands."""
        words = data.split(b"\r\n")
        out, place = [], 0
        while place < len(words) and words[place][:1] == b"*":
            number = int(words[place][1:])
            command = [words[place + 2 * word + 2] for word in range(number)]
            place += 1 + 2 * number
            if command[0] == b"EVAL":  # the script has lines, and is the last command
                out.append(b"*1\r\n:0\r\n")
                break
            out.append(self._answer(command))
        self.transport.write(b"".join(out))  # type: ignore[attr-defined]

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] == b"CLUSTER":
            lines = list(self.lines)
            lines[self.index] = lines[self.index].replace(" ", " myself,", 2).replace(" myself,", " ", 1)
            random.Random(self.index).shuffle(lines)
            text = ("\n".join(lines) + "\n").encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        # A client that gets no PONG connects again after a pause.
        return b"+PONG\r\n" if command[0] == b"PING" else self.answers.get(command[0], b"+OK\r\n")


async def main(url: str, port: int, number: int) -> None:
    """Listen until the end of the input."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop, lines = asyncio.get_running_loop(), map_lines(port, number)
    answers = await asyncio.to_thread(copied_answers, url)
    for index in range(number):
        await loop.create_server(lambda index=index: Node(index, lines, answers), host(index), port)  # type: ignore[misc]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def run() -> None:
    """Read the arguments, and speak."""
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
