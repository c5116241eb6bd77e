"""Where one message ends and the next begins, in what Redis and PostgreSQL say and are told."""

from typing import Protocol

_LINE = b"\r\n"
_SIMPLE = b"+-:,#_("
_BULK = b"$=!"
_ELEMENTS_EACH = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
_NEGOTIATIONS = (80_877_103, 80_877_104)  # SSLRequest, GSSENCRequest


class Framing(Protocol):
    """Splits both directions of one connection into whole messages."""

    def requests(self, received: bytes) -> list[bytes]:
        """Return the messages that are complete with what came from the client."""

    def replies(self, received: bytes) -> list[bytes]:
        """Return the messages that are complete with what came from the server."""


class Resp:
    """RESP 2 and 3: commands are arrays, replies any value."""

    def __init__(self) -> None:
        self._asked = b""
        self._said = b""

    def requests(self, received: bytes) -> list[bytes]:
        """Return whole commands."""
        found, self._asked = values(self._asked + received)
        return found

    def replies(self, received: bytes) -> list[bytes]:
        """Return whole replies."""
        found, self._said = values(self._said + received)
        return found


def values(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole RESP values at the beginning of the data, and what is left of it."""
    found, start = [], 0
    while (end := value_end(data, start)) is not None:
        found.append(data[start:end])
        start = end
    return found, data[start:]


def value_end(data: bytes, start: int) -> int | None:
    """Return where the RESP value that begins here ends, or None where more of it is to come."""
    line_end = data.find(_LINE, start)
    if line_end < 0:
        return None
    kind, argument, end = data[start : start + 1], data[start + 1 : line_end], line_end + len(_LINE)
    if kind in _SIMPLE:
        return end
    if kind in _BULK:
        if int(argument) >= 0:
            end += int(argument) + len(_LINE)
        return end if end <= len(data) else None
    # An attribute stands before the value that it belongs to.
    elements = max(int(argument), 0) * _ELEMENTS_EACH[kind] + (kind == b"|")
    for _ in range(elements):
        following = value_end(data, end)
        if following is None:
            return None
        end = following
    return end


class PostgresWire:
    """PostgreSQL's protocol 3: a start without a type, then type, length and body, in both directions."""

    def __init__(self) -> None:
        self._asked = b""
        self._said = b""
        self._started = False
        self._letters_due = 0

    def requests(self, received: bytes) -> list[bytes]:
        """Return whole messages of the client."""
        self._asked += received
        found = []
        while (message := self._first_request()) is not None:
            found.append(message)
            self._asked = self._asked[len(message) :]
        return found

    def replies(self, received: bytes) -> list[bytes]:
        """Return whole messages of the server."""
        self._said += received
        found = []
        while (message := self._first_reply()) is not None:
            found.append(message)
            self._said = self._said[len(message) :]
        return found

    def _first_request(self) -> bytes | None:
        if self._started:
            return _typed(self._asked)
        message = _sized(self._asked, 0)
        if message is not None and int.from_bytes(message[4:8]) in _NEGOTIATIONS:
            self._letters_due += 1
        elif message is not None:
            self._started = True
        return message

    def _first_reply(self) -> bytes | None:
        if not self._letters_due:
            return _typed(self._said)
        if not self._said:
            return None
        assert self._said.startswith(b"N"), "an encrypted connection shows no messages"
        self._letters_due -= 1
        return self._said[:1]


def _typed(data: bytes) -> bytes | None:
    return _sized(data, 1)


def _sized(data: bytes, type_bytes: int) -> bytes | None:
    head = type_bytes + 4
    if len(data) < head:
        return None
    end = type_bytes + int.from_bytes(data[type_bytes:head])
    return data[:end] if end <= len(data) else None
