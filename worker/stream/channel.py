"""A legacy Pub/Sub channel: hearing it and milestones in one order, adding what was heard exactly once."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
import structlog

from worker.domain.channels import Batch, Fence, Heard
from worker.domain.errors import ConfigurationError, Outage
from worker.stream.link.connection import ANSWER_TIMEOUT_S, RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.link.permission import not_known_whether_allowed
from worker.stream.scripts import source

log = structlog.get_logger(__name__)

# Longer than any process sleeps with messages in hand and then goes on: see docs/decisions/0010-bridge.md.
REMEMBERED_MS = 7 * 86_400_000
# For how long after a move of the channel what was added before it may still come: see
# docs/decisions/0044-one-server-for-bridges.md.
MOVED_MS = 1000
PING_AFTER_S = 2.0
READ_MESSAGES = 1000

NOT_KNOWN_WHERE = "not known at which server the channel is heard: bridges at two servers may add twice"
_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


class Subscription:
    """What is published from now on, in the order of Redis. A subscription that failed is not used again."""

    def __init__(
        self,
        connection: Any,  # noqa: ANN401  redis-py's
        channel: str,
        milestones: str,
        is_old: Callable[[], bool] = lambda: False,
    ) -> None:
        self.is_old = is_old
        self._connection = connection
        self._milestones = milestones.encode()
        self._channels = (channel, milestones)
        self._open = len(self._channels)
        self._failure: Outage | None = None
        self.heard_at = time.monotonic()
        self._pinged_at: float | None = None
        with outages():
            connection.connect()
            # On this connection, so that it is certainly the server that is heard here.
            self.server = _server_of(connection)
            connection.send_command("SUBSCRIBE", *self._channels)
            for _ in self._channels:
                connection.read_response()

    def read(self, wait_s: float) -> list[Heard]:
        """Return what has come, waiting for the first only.

        Raises Outage, but only once all that came before was returned.
        """
        if self._failure is not None:
            raise self._failure
        found: list[Heard] = []
        try:
            with outages():
                self._read_into(found, wait_s)
            if not found:
                self._ask_whether_it_lives()
        except Outage as outage:
            # What came before the cut is heard: it must not go with it. Nor may this connection be read
            # again, the library would connect anew without a word.
            self._failure = outage
            if not found:
                raise
        return found

    def finish(self) -> list[Heard]:
        """Unsubscribe, and return all that was published before Redis did so, or the connection was cut."""
        found: list[Heard] = []
        until = time.monotonic() + ANSWER_TIMEOUT_S
        try:
            # Where it was cut writing fails, and the library then closes what could still be read.
            while time.monotonic() < until and (heard := self.read(0)):
                found += heard
            with outages():
                self._connection.send_command("UNSUBSCRIBE", *self._channels)
            # However long it takes to read what has come: a server that says nothing is an outage.
            while self._open:
                found += self.read(0.1)
        except Outage as outage:
            log.warning("cut off while leaving the channel", reason=outage.reason)
        return found

    def _read_into(self, found: list[Heard], wait_s: float) -> None:
        connection = self._connection
        while self._open and len(found) < READ_MESSAGES and self._may_be_read(0 if found else wait_s):
            reply = connection.read_response()
            self.heard_at, self._pinged_at = time.monotonic(), None
            if reply[0] == b"message":
                found.append(Heard(reply[1] == self._milestones, reply[2]))
            elif reply[0] == b"unsubscribe":
                self._open -= 1

    def _may_be_read(self, wait_s: float) -> bool:
        try:
            return bool(self._connection.can_read(timeout=wait_s))
        except redis.ConnectionError:
            # With TLS the library calls a connection closed at which more has come: reading tells its end.
            return True

    def _ask_whether_it_lives(self) -> None:
        now = time.monotonic()
        # From the question on: a process that was stopped for long is no sign of a dead connection.
        if self._pinged_at is not None and now - self._pinged_at > ANSWER_TIMEOUT_S:
            raise Outage("redis", f"nothing was heard for {now - self.heard_at:.1f} s")
        if self._pinged_at is None and now - self.heard_at > PING_AFTER_S:
            with outages():
                self._connection.send_command("PING")
            self._pinged_at = now


class Channel:
    """One channel, and the stream that what is published on it is added to."""

    def __init__(self, link: RedisLink, name: str, orders: str) -> None:
        self.name = name
        self._link = link
        self._orders = orders
        # In the same subscription, so that every bridge hears a milestone between the same two messages.
        self._milestones = f"{orders}:bridge:{name}"
        # The key of the fence: at which server the channel is heard.
        self._server = f"{self._milestones}:server"
        self._add = link.script(source("bridge"))
        self._fence = link.script(source("fence"))
        self._has_warned = False

    def rehearse(self) -> None:
        """Run the script once on scratch keys, and ask for the channels.

        A missing permission shows so before the first order.
        """
        with outages():
            # A silent channel is asked with it whether it lives.
            self._link.call("PING")
            kind = text(self._link.call("TYPE", self._orders))
        if kind not in {"none", "stream"}:
            raise ConfigurationError(f"WORKER_ORDERS_STREAM: {self._orders} is no stream but a {kind}")
        channels = (self.name, self._milestones)
        hearing = (("SUBSCRIBE", *channels), ("UNSUBSCRIBE", *channels), ("PUBLISH", self._milestones, ""))
        not_known = not_known_whether_allowed(self._link, *hearing)
        if not_known:
            log.warning("not known whether the channel may be heard", channel=self.name, reason=not_known)
        token = secrets.token_hex(16)
        scratch = f"{self._orders}:probe:{token}"
        fence = f"{scratch}:server"
        try:
            name = self._fenced(fence, "nobody").name
            self._add_to(scratch, fence, Batch(token, 1, [b"probe"], name))
        finally:
            with outages():
                self._link.call("DEL", scratch, self._added_of(token), fence)

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Hear the channel. Nothing that is heard before the next milestone has a number."""
        is_old = self._link.term()
        connection = self._link.own_connection()
        try:
            subscription = Subscription(connection, self.name, self._milestones, is_old)
            if not subscription.server and not self._has_warned:
                self._has_warned = True
                log.warning(NOT_KNOWN_WHERE, channel=self.name)
            yield subscription
        finally:
            connection.disconnect()

    def fence(self, server: str) -> Fence:
        """Have the channel be heard at this server alone, and return how long to wait before a milestone.

        Where it was at another server until now, that is as long as what was added there may take to be heard
        here. For a server that is not known there is no fence.
        """
        return self._fenced(self._server, server) if server else Fence("", 0)

    def set_milestone(self, token: str) -> int:
        """Begin a stretch for every bridge of this channel, and return how many subscriptions heard it."""
        with outages():
            return int(self._link.call("PUBLISH", self._milestones, token))

    def add(self, batch: Batch) -> int | None:
        """Add what was not added yet by any bridge, each message as it is, and return how many those were.

        None where nothing is added: the channel is heard behind another fence by now, and where that is, is
        looked up anew. Repeatable: where it fails, whatever part of it was added is known to Redis.
        """
        added = self._add_to(self._orders, self._server, batch)
        if added is None:
            self._link.reconnect()
        return added

    def _add_to(self, orders: str, fence: str, batch: Batch) -> int | None:
        keys = [orders, self._added_of(batch.stretch), fence]
        with outages():
            added = int(self._add(keys, [REMEMBERED_MS, batch.fence, batch.first, *batch.messages]))
        return None if added < 0 else added

    def _fenced(self, key: str, server: str) -> Fence:
        with outages():
            name, wait_ms = self._fence(
                [key, f"{key}:moved"], [server, secrets.token_hex(16), MOVED_MS, REMEMBERED_MS]
            )
        return Fence(text(name), wait_ms / 1000)

    def _added_of(self, stretch: str) -> str:
        return f"{self._orders}:bridge:{stretch}"


def _server_of(connection: Any) -> str:  # noqa: ANN401  redis-py's
    """Return the run id of the server at the end of a connection, "" where it tells none."""
    connection.send_command("INFO", "server")
    try:
        told = _RUN_ID.search(connection.read_response())
    except redis.ResponseError:
        return ""
    return text(told[1]) if told else ""
