"""Stands between a worker and a server, counts their messages, and does harm at the n-th one."""

import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from tests.faults.framing import Framing

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER without any time


class Harm(Enum):
    """What happens at the chosen message."""

    CUT = "cut"  # the server gets to the end of what it was told, then the client sees the end
    RESET = "reset"  # both sides get an RST, whatever is on its way
    VANISH = "vanish"  # from here on nothing arrives on this connection, nor does its end
    DELAY = "delay"  # this message and what follows it in its direction come late


@dataclass(frozen=True)
class Plan:
    """Where to do harm: before the n-th message is passed on, or after the n-th burst of them was.

    A burst is what one side said in one go. Between two messages of a burst, after one is before the next.
    """

    number: int
    after: bool = False
    harm: Harm = Harm.CUT
    delay_s: float = 0.0
    refused: int = 0  # connections that are ended as soon as they are made, from then on
    times: int = 1  # how often, counting anew each time


@dataclass(eq=False)
class _Side:
    """One of the two sockets of a connection, and what waits to be passed on to it."""

    link: "_Link"
    socket: socket.socket
    split: Callable[[bytes], list[bytes]]
    other: "_Side" = field(init=False)
    late: deque[tuple[float, bytes]] = field(default_factory=deque)

    @property
    def is_client(self) -> bool:
        return self is self.link.client


class _Link:
    """A connection through the proxy. `draining`: nothing passes any more, the server comes to its end."""

    def __init__(self, client: socket.socket, server: socket.socket, framing: Framing) -> None:
        self.client = _Side(self, client, framing.requests)
        self.server = _Side(self, server, framing.replies)
        self.client.other, self.server.other = self.server, self.client
        self.draining = False


class Proxy:
    """A TCP proxy in a thread of its own. Messages are counted over all connections and both directions."""

    def __init__(
        self, address: tuple[str, int], framing: Callable[[], Framing], *, trickle: bool = False
    ) -> None:
        self._address = address
        self._framing = framing
        self._trickle = trickle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._over = Event()
        self._failure: BaseException | None = None
        self._links: set[_Link] = set()
        self._idle = Event()
        self._idle.set()
        self._vanished: list[_Link] = []
        self._plan: Plan | None = None
        self._left = 0
        self._to_refuse = 0
        self._counted = 0
        self.harmed: list[str] = []
        self._thread = Thread(target=self._run, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(OSError):
            # Where it has ended already, why is told below.
            self._wake.send(b"!")
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def arm(self, plan: Plan) -> None:
        """Count from here on, and do what is planned."""
        self._counted = 0
        self._left = plan.times
        self._plan = plan

    def heal(self) -> None:
        """Do no more harm."""
        self._plan = None
        self._to_refuse = 0

    def lead_to(self, address: tuple[str, int]) -> None:
        """Lead new connections elsewhere; those that are there stay where they are."""
        self._address = address

    def await_end(self) -> None:
        """Return when the servers have seen the end of everything they were told, and its end."""
        assert self._idle.wait(20), f"{len(self._links)} connections have not ended"

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            while not self._over.is_set():
                for key, _ in self._selector.select(self._next_due()):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.data, _Side) and key.data.link in self._links:
                        self._receive(key.data)
                self._pass_on_late()
        except BaseException as failure:  # noqa: BLE001  the test must hear of it
            self._failure = failure
        finally:
            self._close_all()

    def _close_all(self) -> None:
        for link in [*self._links, *self._vanished]:
            link.client.socket.close()
            link.server.socket.close()
        for each in (self._listener, self._wake, self._woken, self._selector):
            each.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._to_refuse:
            self._to_refuse -= 1
            client.close()
            return
        link = _Link(client, socket.create_connection(self._address), self._framing())
        self._links.add(link)
        self._idle.clear()
        for side in (link.client, link.server):
            side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side.socket, selectors.EVENT_READ, side)

    def _receive(self, side: _Side) -> None:
        link = side.link
        received = b""
        with suppress(OSError):
            received = side.socket.recv(_CHUNK)
        if not received:
            self._end(side)
            return
        if link.draining:
            return
        messages = side.split(received)
        for message in messages:
            plan = self._due(after=False)
            if plan is not None:
                self._harm(side, plan, message)
            if plan is None or plan.harm is Harm.DELAY:
                self._send(side, message)
            else:
                return
        if messages and (plan := self._due(after=True)):
            self._harm(side, plan, messages[-1])

    def _due(self, *, after: bool) -> Plan | None:
        """Count one more, and return the plan where it strikes now."""
        plan = self._plan
        if plan is None or not self._left or plan.after is not after:
            return None
        self._counted += 1
        if self._counted != plan.number:
            return None
        self._counted = 0
        self._left -= 1
        return plan

    def _harm(self, side: _Side, plan: Plan, message: bytes) -> None:
        self.harmed.append(f"{'request' if side.is_client else 'reply'} {message[:120]!r}")
        self._to_refuse = plan.refused
        match plan.harm:
            case Harm.CUT:
                self._cut(side.link)
            case Harm.RESET:
                self._reset(side.link)
            case Harm.VANISH:
                self._vanish(side.link)
            case Harm.DELAY:
                side.other.late.append((time.monotonic() + plan.delay_s, b""))

    def _send(self, side: _Side, message: bytes) -> None:
        """Pass a message on to the other side, behind what is late."""
        target = side.other
        if target.late:
            target.late.append((target.late[-1][0], message))
            return
        with suppress(OSError):
            if self._trickle:
                for position in range(len(message)):
                    target.socket.sendall(message[position : position + 1])
            else:
                target.socket.sendall(message)

    def _next_due(self) -> float | None:
        due = [side.late[0][0] for side in self._late_sides()]
        return max(min(due) - time.monotonic(), 0) if due else None

    def _pass_on_late(self) -> None:
        for side in self._late_sides():
            while side.late and side.late[0][0] <= time.monotonic():
                with suppress(OSError):
                    side.socket.sendall(side.late.popleft()[1])
            if not side.late and side.other.socket not in self._selector.get_map():
                # Its sender ended while this was on its way.
                self._half_close(side)

    def _late_sides(self) -> list[_Side]:
        return [side for link in self._links for side in (link.client, link.server) if side.late]

    def _end(self, side: _Side) -> None:
        """One side ended: the client's end reaches the server behind all it said; the server's is the end."""
        self._ignore(side)
        if not side.is_client:
            self._ignore(side.other)
            side.link.client.socket.close()
            side.link.server.socket.close()
            self._forget(side.link)
        elif not side.other.late:
            self._half_close(side.other)

    def _half_close(self, side: _Side) -> None:
        with suppress(OSError):
            side.socket.shutdown(socket.SHUT_WR)

    def _cut(self, link: _Link) -> None:
        # The client sees its end once the server has: by then the server has done whatever it was told.
        link.draining = True
        self._ignore(link.client)
        self._half_close(link.server)

    def _reset(self, link: _Link) -> None:
        for side in (link.client, link.server):
            self._ignore(side)
            side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.socket.close()
        self._forget(link)

    def _vanish(self, link: _Link) -> None:
        self._ignore(link.client)
        self._ignore(link.server)
        self._vanished.append(link)
        self._forget(link)

    def _forget(self, link: _Link) -> None:
        self._links.discard(link)
        if not self._links:
            self._idle.set()

    def _ignore(self, side: _Side) -> None:
        known: Any = self._selector.get_map()
        if side.socket in known:
            self._selector.unregister(side.socket)
