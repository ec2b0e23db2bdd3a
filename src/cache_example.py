"""Cache a username for 10 seconds, read it at once, and read it again after 12.

It uses CACHE_URL, else a cache on this machine, else an embedded server that ends with the command.
"""

from __future__ import annotations

import redis_practices  # noqa: F401 - it says in one line that Python is too old # isort: skip

from redis import Redis

from redis_practices.cli import Parser, run, seconds, wait
from redis_practices.clients import one_line_errors, redis_client
from redis_practices.servers.locate import deployment

EXAMPLES = """\
  python src/cache_example.py
  python src/cache_example.py --key city --value Paris --ttl 2 --wait 3     The value lives for 2 seconds.
  CACHE_URL=redis://:secret@cache.example:6379/0 python src/cache_example.py"""


def remember(cache: Redis, key: str, value: str, ttl: float) -> None:
    """Cache `value` under `key` for `ttl` seconds, to the millisecond, in one command (``SET key value PX ttl``).

    Raises:
        redis.exceptions.RedisError: the cache does not answer or refuses the write.
    """
    cache.set(key, value, px=round(ttl * 1000))


def recall(cache: Redis, key: str) -> str | None:
    """Return the cached value of `key`, or None if it never existed or has expired (``GET key``).

    Raises:
        redis.exceptions.RedisError: the cache does not answer or refuses the read.
    """
    value = cache.get(key)
    return value.decode() if isinstance(value, bytes) else value


def report(key: str, value: str | None) -> None:
    """Print the result of a read of `key`."""
    line = f"{key} does not exist or has expired." if value is None else f"Retrieved {key} = {value} from cache."
    print(line, flush=True)


def main() -> None:
    """Run the demonstration with the options of the command line."""
    parser = Parser(__doc__, EXAMPLES)
    parser.add_argument("--key", default="username", help="the name of the value (default: username)")
    parser.add_argument("--value", default="qiross", help="its value (default: qiross)")
    parser.add_argument("--ttl", type=seconds, default=10.0, help="seconds until it expires (default: 10)")
    parser.add_argument("--wait", type=seconds, default=12.0, help="seconds until the second read (default: 12)")
    parser.add_timeout()
    options = parser.parse_args()
    with (
        deployment("cache") as url,
        one_line_errors(url, options.timeout),
        redis_client(url, options.timeout) as cache,
    ):
        remember(cache, options.key, options.value, options.ttl)
        print(f"Cached {options.key} = {options.value} for {options.ttl:g} seconds.", flush=True)
        report(options.key, recall(cache, options.key))
        wait(options.wait, f"waiting for {options.key} to expire")
        report(options.key, recall(cache, options.key))


if __name__ == "__main__":
    run(main)
