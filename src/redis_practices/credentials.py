"""Give clients a login that changes: a file that each connection reads, and open connections that log in again.

A login is a user and a password, or a token in place of the password. Another program renews it: an agent of a vault, a
sidecar that asks for IAM tokens, a mounted Secret of Kubernetes. It writes the file that LOGIN_FILE names, by renaming
a complete file to that name: the user on one line, the password on the next. Without a user, the password is that of
the default user.

    LOGIN_FILE=/run/login        redis://host:6379/0?credential_provider=redis_practices.credentials.LoginFile

This option of a URL serves `redis_practices.clients`, all that takes their clients, Celery's broker and its result
backend, and the gate. It names a class, or a function that returns such an object, as ``module.Class``. It is called
without arguments, once for each pool of connections. So what is costly, such as asking for a token, belongs in the
module, not into the object. The module must be importable without the current folder: installed, or on PYTHONPATH.

Promises, if the old login works until every client has read the new one (`Logins.rotate`):

- A connection that the server closes with the old login connects again with the new one; see `clients` for commands.
- `LoginStream`: an idle connection logs in within `LOOK`, one in use after its command. So the server closes none.
- A late login is read at the next try. Until then a command raises `AuthenticationError`, as `NoLoginError` without
  a readable file.
- A failed login, a broken connection and a missing file end no stream. After a fork the child has its own.

Not promised: a subscription, a near cache and a client for asyncio do not log in again. They read the login when they
connect again, after the server has closed them.

docs/credentials.md shows how each kind of client did with redis-py 8.1 and kombu 5.7.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from weakref import WeakMethod, WeakSet

from redis import Redis
from redis.auth.token import SimpleToken
from redis.credentials import CredentialProvider, StreamingCredentialProvider
from redis.event import RegisterReAuthForPubSub, RegisterReAuthForSingleConnection
from redis.exceptions import AuthenticationError

from redis_practices.cli import UsageError, printable
from redis_practices.polling import poll

VARIABLE = "LOGIN_FILE"
"""The environment variable with the path of the file; a URL cannot name it, as the provider gets no arguments."""

LOOK = 0.5
"""Seconds between two looks of a stream at its file."""

NOT_OF_POOLS = (RegisterReAuthForPubSub, RegisterReAuthForSingleConnection)
"""Owners of callbacks that write to a connection that another thread uses."""

Login = tuple[str, str]
"""A user and a password."""

_log = logging.getLogger(__name__)


class NoLoginError(AuthenticationError):
    """The file cannot be read, or holds no login. A client tries again as after a refused password."""


def login_of(options: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the ``username`` and ``password`` of a client with these options, now: a provider's login changes.

    Raises:
        Exception: any exception of the provider.
    """
    provider = options.get("credential_provider")
    *user, password = provider.get_credentials() if provider else (options.get("username"), options.get("password"))
    return {"username": user[0] if user else None, "password": password}


def provider_of(name: str) -> CredentialProvider:
    """Return a new object of the class, or from the function, that is called `name`: ``module.Class``.

    Raises:
        UsageError: there is none, it raises an error, or it makes no provider. The message shows no text of its error.
    """
    shown = printable(name)
    try:
        found = resolve_name(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"names {shown}, and there is no module {error.name}: install it, or add its folder (not the current "
            "one) to PYTHONPATH"
        ) from None
    except (AttributeError, ValueError):
        raise UsageError(f"names {shown}, which is not there: give module.Class") from None
    except Exception as error:  # noqa: BLE001 - the code is the user's
        raise UsageError(f"names {shown}, whose module raises {type(error).__name__}") from None
    try:
        made = found()
    except UsageError as error:
        raise UsageError(f"names {shown}, which {error}") from None
    except Exception as error:  # noqa: BLE001 - the same
        raise UsageError(f"names {shown}, which raises {type(error).__name__} without arguments") from None
    if not isinstance(made, CredentialProvider):
        raise UsageError(f"names {shown}, which makes no redis.CredentialProvider")
    return made


class LoginFile(CredentialProvider):
    """Read the login at each connect: for a service that closes connections whose login has ended."""

    def __init__(self, path: str | os.PathLike[str] = "") -> None:
        """Read `path`, or the file that LOGIN_FILE names (UsageError if neither is given)."""
        if not (path or os.environ.get(VARIABLE)):
            raise UsageError(f"reads the login from the file that {VARIABLE} names: set it")
        self.path = Path(path or os.environ[VARIABLE])

    def get_credentials(self) -> Login:
        """Return user and password; called by redis-py at each connect (NoLoginError)."""
        try:
            lines = self.path.read_text(encoding="utf-8").strip().splitlines()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise NoLoginError(f"no login in {self.path}: {why}") from None
        if len(lines) not in {1, 2}:
            raise NoLoginError(f"no login in {self.path}: a user and a password are two lines, not {len(lines)}")
        return (lines[0] if len(lines) > 1 else "default"), lines[-1]

    async def get_credentials_async(self) -> Login:
        """Return the same for asyncio; the file is small and local."""
        return self.get_credentials()


class LoginStream(LoginFile, StreamingCredentialProvider):
    """Also log open connections in again when the file has changed: for a service that ends connections with a token.

    redis-py gives a callback for each pool and each subscription. This class keeps all callbacks of pools. It ignores
    those of subscriptions: they read from a connection that another thread reads, and that belongs to another caller
    after the subscription has ended. An error of a callback is logged, and the callback gets the login again.
    """

    def __init__(self, path: str | os.PathLike[str] = "") -> None:
        """Read the same file, in a thread that all objects of the process share."""
        super().__init__(path)
        self._told: Login | None = None
        self._callbacks: list[tuple[int, WeakMethod[Callable[[Any], object]]]] = []
        _streams.add(self)

    def get_credentials(self) -> Login:
        """Return user and password, and watch the file from now on."""
        login = super().get_credentials()
        self._told = self._told or login
        _watch()
        return login

    def on_next(self, callback: Callable[[Any], object]) -> None:
        """Keep a callback of a pool, for this process: in a forked child it would write to the parent's connections."""
        one = os.getpid(), WeakMethod(callback)
        if isinstance(getattr(callback, "__self__", None), NOT_OF_POOLS) or iscoroutinefunction(callback):
            return
        if one not in self._callbacks:  # redis-py's cluster client registers again with each slot map
            self._callbacks.append(one)

    def on_error(self, callback: Callable[[Exception], object]) -> None:
        """Ignore it: redis-py's callback raises the error in the thread that calls it, which would end the stream."""

    def is_streaming(self) -> bool:
        """Return True: redis-py registers callbacks."""
        return True

    def look(self) -> None:
        """Read the file, and tell a changed login to each pool of this process."""
        try:
            login = super().get_credentials()
        except NoLoginError as error:
            _log.warning("connections keep their login: %s", error)
            return
        if login == self._told:
            return
        user, password = login
        token = SimpleToken(password, -1, time.time() * 1000, {"oid": user})
        self._callbacks = [(pid, weak) for pid, weak in self._callbacks if pid == os.getpid() and weak()]
        failed = [weak for _, weak in self._callbacks if (callback := weak()) and not _told(callback, token)]
        if not failed:
            self._told = login


def _told(callback: Callable[[Any], object], token: SimpleToken) -> bool:
    """Tell a pool the token, and return whether each of its connections took it."""
    try:
        callback(token)
    except Exception as error:  # noqa: BLE001 - any error would end the stream
        _log.warning("a pool did not log in again: %s", error)
        return False
    return True


_streams: WeakSet[LoginStream] = WeakSet()
_watcher: threading.Thread | None = None


def _watch() -> None:
    """Start the thread, unless it runs in this process; a forked child has none."""
    global _watcher  # noqa: PLW0603 - one thread for all streams
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_look_again, name="logins", daemon=True)
        _watcher.start()


def _look_again() -> None:
    """Look for changed logins, without an end: a thread that ended could miss a stream that begins at this moment."""
    while True:
        for stream in list(_streams):
            stream.look()
            del stream  # the thread keeps no stream alive
        time.sleep(LOOK)


@dataclass
class Logins:
    """Give the clients of a deployment a new user and password in turn, without an outage.

    Deleting a user closes its connections on every engine. A changed password does not: a client that cannot get the
    new one works until its next connection, and fails then. Two users in turn show that at once.
    """

    admins: Sequence[Redis] = field(repr=False)
    """Clients of all servers of the deployment, as an administrator: the nodes of a cluster do not share users."""
    path: Path
    """The file that the clients read."""
    name: str = "app"
    """What the names of the users begin with."""
    rules: Sequence[str] = ("~*", "&*", "+@all")
    """The rights of each user, as ``ACL SETUSER`` takes them."""
    users: list[str] = field(default_factory=list)
    """The users that work now, the newest last."""

    def add(self) -> Login:
        """Let a further user log in on every server, and return its login."""
        login = f"{self.name}-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
        for admin in self.admins:
            admin.execute_command("ACL SETUSER", login[0], "reset", "on", f">{login[1]}", *self.rules)
        self.users.append(login[0])
        return login

    def announce(self, login: Login) -> None:
        """Write the file, whole or not at all, for its owner alone."""
        part = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join(login) + "\n")
        part.replace(self.path)

    def connections(self, users: Sequence[str]) -> int:
        """Return how many connections have one of these logins (``CLIENT LIST``)."""
        return sum(one["user"] in users for admin in self.admins for one in admin.client_list())

    def delete(self, users: Sequence[str]) -> int:
        """Delete users with their connections (``ACL DELUSER``), and return how many connections these were."""
        cut = self.connections(users)
        for admin in self.admins:
            admin.execute_command("ACL DELUSER", *users)
        self.users = [one for one in self.users if one not in users]
        return cut

    def rotate(self, overlap: float) -> int:
        """Add a login, announce it, and delete the old ones `overlap` seconds later; return the closed connections.

        The overlap must be longer than every client takes to read the new login. It ends when no connection has an old
        login.
        """
        old = list(self.users)
        self.announce(self.add())
        poll(lambda: not self.connections(old), overlap)
        return self.delete(old) if old else 0
