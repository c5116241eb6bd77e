"""Connections that never retry by themselves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from threading import Lock
from typing import Any

import redis
from redis.connection import SSLConnection

from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError
from worker.stream.link.clients import Clients, clients
from worker.stream.link.closer import look_closer
from worker.stream.link.denials import naming_commands, naming_keys
from worker.stream.link.outages import is_no_primary, outages
from worker.ways.pools import seeks, whereabouts

ANSWER_TIMEOUT_S = 5.0


class RedisLink:
    """The connections of one replica: one for the blocking read alone, a pool for everything else.

    Replies come as the server sends them, in bytes: the library's own parsers would fold fields that
    stand in an entry twice. Nothing is retried: a repeated XADD adds twice, a repeated read strands entries.
    """

    def __init__(
        self, place: Endpoint | str, *, block_ms: int, client_name: str, a_key: str = "orders"
    ) -> None:
        """Take a place, and one of the keys, by which a cluster knows its node. Raises ConfigurationError."""
        self._endpoint = place if isinstance(place, Endpoint) else Endpoint.fixed(place)
        # A read that blocks for BLOCK_MS must not look like a silent server.
        self._reading_timeout_s = block_ms / 1000 + ANSWER_TIMEOUT_S
        self._client_name = client_name
        self._a_key = a_key
        self._lock = Lock()
        self._clients = self._made()

    def _made(self) -> Clients:
        return clients(
            self._endpoint, ANSWER_TIMEOUT_S, self._reading_timeout_s, self._client_name, self._a_key
        )

    def _present(self) -> Clients:
        """Return clients whose connections lead to where the server is now."""
        clients = self._clients
        return clients if clients.departures == self._endpoint.departures else self._made_anew()

    def _made_anew(self) -> Clients:
        with self._lock:
            if self._clients.departures != self._endpoint.departures:
                try:
                    made = self._made()
                except ConfigurationError as fault:
                    # Whoever has changed it while we run may mend it while we run.
                    raise redis.ConnectionError(str(fault)) from None
                left, self._clients = self._clients, made
                left.let_go()
            return self._clients

    @contextmanager
    def _used(self, clients: Clients) -> Iterator[None]:
        """Leave the place where its server says that it is not what we need, or that it does not know us.

        What is interrupted may have a reply still to come: its connection is used no more.
        """
        try:
            yield
        except redis.RedisError as error:
            if is_no_primary(error):
                self._endpoint.leave(clients.departures)
            raise
        except BaseException:
            clients.let_go()
            raise
        finally:
            if clients is not self._clients:
                # Another thread has left meanwhile, perhaps before this one took its connection.
                clients.let_go()

    def reconnect(self) -> None:
        """Have every connection to this server made anew, those of other links in this process, too."""
        self._endpoint.leave()

    def call(self, *command: str | int | bytes) -> Any:  # noqa: ANN401  replies are untyped
        """Send one command and return the raw reply. Raises what redis-py raises: use within `outages`."""
        clients = self._present()
        with self._used(clients), naming_keys(command[1:3]):
            return clients.commands.execute_command(*command)

    def begin(self, *command: str | int | bytes) -> Callable[[], Any]:
        """Send one command, and return what waits for its raw reply, to be called once."""
        clients = self._present()
        replies = self._sent(clients, clients.commands.connection_pool, [command])
        return lambda: replies()[-1]

    def begin_after(
        self, first: "Script", keys: list[str], args: Sequence[str | int], *command: str | int, blocks: bool
    ) -> Callable[[], list[Any]]:
        """Send a call of a script and a command right behind it; return what waits for both replies.

        What is returned is to be called once. What the script fails with is returned in the place of its
        reply, and does not keep from the command. A command that blocks keeps nothing else waiting.
        """
        clients = self._present()
        pool = (clients.reading if blocks else clients.commands).connection_pool
        return self._sent(clients, pool, [first.call(keys, args), command])

    def _sent(
        self,
        clients: Clients,
        pool: Any,  # noqa: ANN401  redis-py is half typed
        commands: Sequence[Sequence[str | int | bytes]],
    ) -> Callable[[], list[Any]]:
        """Send commands in one go; return what waits for their replies.

        Only the last one raises what it fails with.
        """
        with self._used(clients):
            connection = pool.get_connection()
            try:
                connection.send_packed_command(connection.pack_commands(commands))
            except BaseException:
                connection.disconnect()
                pool.release(connection)
                raise

        def replies() -> list[Any]:
            with self._used(clients):
                try:
                    before = [_reply_or_error(connection) for _ in commands[1:]]
                    return [*before, connection.read_response()]
                except redis.ResponseError:
                    raise
                except BaseException:
                    # What comes after this would be taken for the reply to another command.
                    connection.disconnect()
                    raise
                finally:
                    pool.release(connection)

        return replies

    def script(self, source: str) -> "Script":
        """Return a script to call with keys and arguments; it is loaded where the server does not know it."""
        return Script(self, source)

    def call_all(self, commands: Iterable[Sequence[str]]) -> list[Any]:
        """Send commands in one go and return their replies in order; not one transaction."""
        clients = self._present()
        with self._used(clients), clients.commands.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def own_connection(self) -> Any:  # noqa: ANN401  redis-py is half typed
        """Return a connection, not open yet, for a subscription alone; the caller closes it."""
        with outages():
            pool = self._present().commands.connection_pool
        # In RESP2 what is published comes as plain replies; in RESP3 the library would log each.
        return pool.connection_class(**{**pool.connection_kwargs, "protocol": 2})

    def term(self) -> Callable[[], bool]:
        """Return what says when a connection of its own, made now, is to be renewed."""
        return self._endpoint.term()

    @property
    def is_in_a_cluster(self) -> bool:
        """Whether the URL names nodes of a cluster, of which one has our keys."""
        return seeks(self._clients.commands.connection_pool) is not None

    def whereabouts(self) -> str:
        """Return where the server is, and who says so, without user or password. Raises Outage."""
        clients = self._present()
        with outages(), self._used(clients):
            return whereabouts(clients.commands.connection_pool)

    def look_closer(self) -> str | None:
        """Return what is wrong with the URL, where the server can be had but not as it says."""
        pool = self._clients.commands.connection_pool
        return look_closer(pool.connection_kwargs, is_tls=issubclass(pool.connection_class, SSLConnection))

    def ping(self) -> None:
        """Return when Redis answers and takes commands; raises Outage otherwise."""
        with outages():
            self.call("PING")

    def close(self) -> None:
        """Close every connection."""
        self._clients.close()


class Script:
    """A script that is called with keys and arguments."""

    def __init__(self, link: RedisLink, source: str) -> None:
        self._link = link
        self._source = source
        self._digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: list[str], args: Sequence[str | int | bytes]) -> Any:  # noqa: ANN401  any reply
        """Run it, and return its raw reply."""
        return self.begin(keys, args)()

    def call(self, keys: list[str], args: Sequence[str | int | bytes]) -> tuple[str | int | bytes, ...]:
        """Return the command that runs it where the server knows it."""
        return "EVALSHA", self._digest, len(keys), *keys, *args

    def begin(self, keys: list[str], args: Sequence[str | int | bytes]) -> Callable[[], Any]:
        """Have the server run it, and return what waits for its raw reply, to be called once."""
        command = self.call(keys, args)
        reply = self._link.begin(*command)

        def known_or_loaded() -> Any:  # noqa: ANN401  replies are untyped
            with naming_commands(self._source), naming_keys(keys):
                try:
                    return reply()
                except redis.exceptions.NoScriptError:
                    self._link.call("SCRIPT", "LOAD", self._source)
                    return self._link.call(*command)

        return known_or_loaded


def _reply_or_error(connection: Any) -> Any:  # noqa: ANN401  redis-py is half typed
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
