"""Streams in memory, for tests: those commands of Redis that the client sends, replied to as Redis does."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition

import redis

from worker.client.link import Command, Reply

Id = tuple[int, int]
POLL_S = 0.002


@dataclass
class Group:
    """A consumer group: how far it has read, and who holds what since when."""

    delivered: Id
    pending: dict[Id, tuple[str, float]] = field(default_factory=dict)


@dataclass
class Stream:
    """A stream and its groups."""

    entries: dict[Id, list[bytes]] = field(default_factory=dict)
    last: Id = (0, 0)
    groups: dict[str, Group] = field(default_factory=dict)


class FakeStreams:
    """Streams of a server; `added` hears what was added."""

    patience_s = 2.5

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._changed = Condition()
        self.added: Callable[[str, str, list[bytes]], None] = lambda *_: None

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Reply to commands as a server does; the last may block."""
        deadline = time.monotonic() + _block_s(commands[-1])
        with self._changed:
            replies = [self._reply(command) for command in commands]
            while replies[-1] is None and self._changed.wait(deadline - time.monotonic()):
                replies[-1] = self._reply(commands[-1])
            return replies

    def _reply(self, command: Command) -> Reply:
        name, *args = command
        try:
            return getattr(self, f"_{str(name).lower()}")(*args)
        except redis.ResponseError as error:
            return error

    def _xadd(self, key: str, *args: str) -> bytes:
        stream = self._streams.setdefault(key, Stream())
        now = (int(time.time() * 1000), 0)
        stream.last = max(now, (stream.last[0], stream.last[1] + 1))
        stream.entries[stream.last] = [part.encode() for part in args[1:]]
        entry_id = _text(stream.last)
        self._changed.notify_all()
        self.added(key, entry_id.decode(), stream.entries[stream.last])
        return entry_id

    def _xlen(self, key: str) -> int:
        return len(self._streams.get(key, Stream()).entries)

    def _xinfo(self, _: str, key: str) -> list[Reply]:
        if key not in self._streams:
            raise redis.ResponseError("no such key")
        stream = self._streams[key]
        return [
            [
                *(b"name", name.encode(), b"pending", len(group.pending)),
                *(b"last-delivered-id", _text(group.delivered)),
                *(b"lag", len(_after(stream, group.delivered))),
            ]
            for name, group in stream.groups.items()
        ]

    def _xgroup(self, _: str, key: str, group: str, start: str, __: str) -> bytes:
        stream = self._streams.setdefault(key, Stream())
        if group in stream.groups:
            raise redis.ResponseError("BUSYGROUP Consumer Group name already exists")
        stream.groups[group] = Group(stream.last if start == "$" else _id(start))
        return b"OK"

    def _xread(self, _: str, count: int, *args: str) -> Reply:
        places = args[args.index("STREAMS") + 1 :]
        half = len(places) // 2
        found = [
            [key.encode(), [[_text(each), self._streams[key].entries[each]] for each in ids[:count]]]
            for key, after in zip(places[:half], places[half:], strict=True)
            if key in self._streams and (ids := _after(self._streams[key], _id(after)))
        ]
        return found or None

    def _xrevrange(self, key: str, last: str, _: str, __: str, count: int) -> list[Reply]:
        entries = self._streams.get(key, Stream()).entries
        highest = _id(last.removeprefix("("))
        ids = [each for each in entries if each < highest or (each == highest and not last.startswith("("))]
        return [[_text(each), entries[each]] for each in sorted(ids, reverse=True)[:count]]

    def _xreadgroup(self, _: str, name: str, consumer: str, __: str, count: int, *args: str) -> Reply:
        key, after = args[-2:]
        found, group = self._group(key, name)
        if after == ">":
            ids = _after(found, group.delivered)[:count]
            group.delivered = max([group.delivered, *ids])
        else:
            ids = sorted(each for each, (holder, _) in group.pending.items() if holder == consumer)[:count]
        group.pending |= {each: (consumer, time.monotonic()) for each in ids}
        if after == ">" and not ids:
            return None
        return [[key.encode(), [[_text(each), found.entries.get(each)] for each in ids]]]

    def _xack(self, key: str, name: str, entry_id: str) -> int:
        return int(self._group(key, name)[1].pending.pop(_id(entry_id), None) is not None)

    def _xpending(self, key: str, name: str, first: str, last: str, count: int) -> list[Reply]:
        _, group = self._group(key, name)
        return [_text(each) for each in group.pending if _id(first) <= each <= _id(last)][:count]

    def _xautoclaim(self, key: str, name: str, consumer: str, idle_ms: int, *rest: object) -> Reply:  # noqa: ARG002  as sent
        stream, group = self._group(key, name)
        now = time.monotonic()
        idle = [each for each, (_, since) in group.pending.items() if now - since >= idle_ms / 1000]
        claimed = [each for each in idle if each in stream.entries]
        gone = [each for each in idle if each not in stream.entries]
        group.pending |= dict.fromkeys(claimed, (consumer, now))
        for each in gone:
            del group.pending[each]
        return [b"0-0", [_text(each) for each in claimed], [_text(each) for each in gone]]

    def _group(self, key: str, name: str) -> tuple[Stream, Group]:
        stream = self._streams.get(key, Stream())
        if name not in stream.groups:
            raise redis.ResponseError(f"NOGROUP No such key '{key}' or consumer group '{name}'")
        return stream, stream.groups[name]


class AsyncFakeStreams:
    """The same with asyncio."""

    def __init__(self, streams: FakeStreams) -> None:
        self._streams = streams
        self.patience_s = streams.patience_s

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Reply to commands as a server does; the last may block."""
        deadline = time.monotonic() + _block_s(commands[-1])
        replies = self._streams.call([_unblocked(command) for command in commands])
        while replies[-1] is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            replies[-1:] = self._streams.call([_unblocked(commands[-1])])
        return replies


def _after(stream: Stream, entry_id: Id) -> list[Id]:
    return [each for each in stream.entries if each > entry_id]


def _text(entry_id: Id) -> bytes:
    return f"{entry_id[0]}-{entry_id[1]}".encode()


def _id(text: str) -> Id:
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)


def _block_s(command: Command) -> float:
    return float(command[command.index("BLOCK") + 1]) / 1000 if "BLOCK" in command else 0.0


def _unblocked(command: Command) -> Command:
    if "BLOCK" not in command:
        return command
    place = command.index("BLOCK")
    return (*command[:place], *command[place + 2 :])
