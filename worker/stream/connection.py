"""Connections that never retry by themselves, and the names of every key in use."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from msgspec import Struct
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.domain.errors import AccessDenied, ConfigurationError, Outage

ANSWER_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 3.0


# Holds what a repair has made pending again, until a replica claims it.
REPAIR_CONSUMER = "repair"


class GroupLost(Exception):
    """The stream or its group is gone: make it anew at 0, the inbox absorbs what comes again."""


class RedisNames(Struct, frozen=True):
    """The keys of one deployment, and who this replica is among its group."""

    orders: str
    results: str
    dead_letters: str
    source: str
    group: str
    consumer: str

    @property
    def settled(self) -> str:
        """The settled marks: a sorted set of entry ids, and of what is known of all of them (see marks.lua).

        They belong to where results go and to whose entries they are, whichever group has read these.
        """
        return f"{self.results}:settled:{self.source}"

    @property
    def settled_before(self) -> str:
        """The settled marks as replicas of the version before make them, by group."""
        return f"{self.orders}:settled:{self.group}"

    @property
    def unknown(self) -> str:
        """Entries of which nobody can know whether their results were published: a sorted set of their ids."""
        return f"{self.settled}:unknown"

    @property
    def walk(self) -> str:
        """Who reads the results to make the marks anew."""
        return f"{self.settled}:walk"

    @property
    def token(self) -> str:
        """What this orders stream is known by, wherever its name is used again."""
        return f"{self.orders}:token"

    @property
    def trimmed(self) -> str:
        """Entries that were trimmed while pending, until somebody has asked the inbox about them."""
        return f"{self.orders}:trimmed:{self.group}"

    @property
    def lost(self) -> str:
        """How many entries were trimmed before the group read them: a hash of `total`, and of the last `new` ones."""
        return f"{self.orders}:lost:{self.group}"

    @property
    def repairs(self) -> str:
        """Repairs at work: a sorted set of their tokens, scored by when each must have been heard of again, in ms."""
        return f"{self.settled}:repairs"

    @property
    def published_again(self) -> str:
        """What repairs at work have published though a mark said it had been: a sorted set of entry ids."""
        return f"{self.settled}:again"

    @property
    def repaired(self) -> str:
        """The last repair that came to its end: a hash of what it did, for people."""
        return f"{self.orders}:repaired:{self.group}"

    @property
    def letter_states(self) -> str:
        """How each dead letter that is closed was closed: a hash of letter ids and JSON."""
        return f"{self.dead_letters}:state"

    def scratch(self, token: str) -> "RedisNames":
        """Return names for a rehearsal that touches no real key but matches the same patterns."""
        return RedisNames(
            orders=f"{self.orders}:probe:{token}",
            results=f"{self.results}:probe:{token}",
            dead_letters=f"{self.dead_letters}:probe:{token}",
            source=self.source,
            group=self.group,
            consumer=self.consumer,
        )


class RedisLink:
    """The connections of one replica: one for the blocking read alone, a pool for everything else.

    Replies come as the server sends them, in bytes: the library's own parsers would fold fields that
    stand in an entry twice. Nothing is retried: a repeated XADD adds twice, a repeated read strands entries.
    """

    def __init__(self, url: str, *, block_ms: int, client_name: str) -> None:
        self._commands = _client(url, ANSWER_TIMEOUT_S, client_name)
        # A read that blocks for BLOCK_MS must not look like a silent server.
        self._reading = _client(url, block_ms / 1000 + ANSWER_TIMEOUT_S, client_name)

    def call(self, *command: str | int | bytes) -> Any:  # noqa: ANN401  replies are untyped
        """Send one command and return the raw reply. Raises what redis-py raises: use within `outages`."""
        return self._commands.execute_command(*command)

    def begin(self, *command: str | int | bytes) -> Callable[[], Any]:
        """Send one command, and return what waits for its raw reply, to be called once."""
        pool = self._commands.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_command(*command)
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise

        def reply() -> Any:  # noqa: ANN401  replies are untyped
            try:
                return connection.read_response()
            except redis.ResponseError:
                raise
            except BaseException:
                # What comes after this would be taken for the reply to another command.
                connection.disconnect()
                raise
            finally:
                pool.release(connection)

        return reply

    def begin_after(
        self, first: "Script", keys: list[str], args: Sequence[str | int], *command: str | int, blocks: bool
    ) -> Callable[[], tuple[Any, Any]]:
        """Send a call of a script and a command right behind it; return what waits for both replies, to be called once.

        What the script fails with is returned in the place of its reply, and does not keep from the command.
        """
        pool = (self._reading if blocks else self._commands).connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands([first.call(keys, args), command]))
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise

        def replies() -> tuple[Any, Any]:
            try:
                try:
                    before = connection.read_response()
                except redis.ResponseError as error:
                    before = error
                return before, connection.read_response()
            except redis.ResponseError:
                raise
            except BaseException:
                connection.disconnect()
                raise
            finally:
                pool.release(connection)

        return replies

    def script(self, source: str) -> "Script":
        """Return a script to call with keys and arguments; it is loaded where the server does not know it."""
        return Script(self, self._commands.register_script(source))

    def call_all(self, commands: Iterable[Sequence[str]]) -> list[Any]:
        """Send commands in one go and return their replies in order; not one transaction."""
        with self._commands.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def own_connection(self) -> Any:  # noqa: ANN401  redis-py is half typed
        """Return a connection, not open yet, that nothing else uses, for a subscription; the caller closes it."""
        pool = self._commands.connection_pool
        # In RESP2 what is published comes as plain replies; in RESP3 the library would log each.
        return pool.connection_class(**{**pool.connection_kwargs, "protocol": 2})

    def ping(self) -> None:
        """Return when Redis answers and takes commands; raises Outage otherwise."""
        with outages():
            self.call("PING")

    def close(self) -> None:
        """Close every connection."""
        self._commands.close()
        self._reading.close()


class Script:
    """A script that is called with keys and arguments."""

    def __init__(self, link: RedisLink, registered: Any) -> None:  # noqa: ANN401  redis-py is half typed
        self._link = link
        self._registered = registered

    def __call__(self, keys: list[str], args: Sequence[str | int | bytes]) -> Any:  # noqa: ANN401  replies are untyped
        """Run it, and return its raw reply."""
        return self._registered(keys, args)

    def call(self, keys: list[str], args: Sequence[str | int | bytes]) -> tuple[str | int | bytes, ...]:
        """Return the command that runs it where the server knows it."""
        return "EVALSHA", self._registered.sha, len(keys), *keys, *args

    def begin(self, keys: list[str], args: Sequence[str | int | bytes]) -> Callable[[], Any]:
        """Have the server run it, and return what waits for its raw reply, to be called once."""
        reply = self._link.begin(*self.call(keys, args))

        def known_or_loaded() -> Any:  # noqa: ANN401  replies are untyped
            try:
                return reply()
            except redis.exceptions.NoScriptError:
                return self(keys, args)

        return known_or_loaded


def _client(url: str, answer_timeout: float, client_name: str) -> Any:  # noqa: ANN401  redis-py is half typed
    ours: dict[str, Any] = {
        "protocol": 3,
        "decode_responses": False,
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": client_name,
    }
    if not url.startswith("unix://"):
        ours["socket_keepalive"] = True
    try:
        client = redis.Redis.from_url(url, **ours)
        pool = client.connection_pool
        # Once more: options in the URL may add to ours, as for TLS, but the library lets them replace ours.
        pool.connection_kwargs.update(ours)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):
        # The library's own text may show a piece of the URL.
        raise ConfigurationError(
            "REDIS_URL: can't be used: an option or another part of it is not known"
        ) from None
    client.response_callbacks.clear()
    return client


@contextmanager
def outages() -> Iterator[None]:
    """Translate whatever Redis or the way to it does wrong: GroupLost where the group is gone, else Outage."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise AccessDenied("redis", _reason(error)) from error
    except redis.ResponseError as error:
        if str(error).startswith(("NOGROUP", "UNBLOCKED")) or "NOGROUP" in str(error):
            raise GroupLost(str(error)) from error
        raise Outage("redis", _reason(error)) from error
    except (redis.RedisError, OSError) as error:
        raise Outage("redis", _reason(error)) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def text(value: Any) -> str:  # noqa: ANN401  replies are untyped
    """Return a reply's bytes as text; ids and names are ASCII or come from our own settings."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
