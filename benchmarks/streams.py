"""Redis as the benchmark uses it: adds orders, lets them go at one instant, looks at what came of them."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import redis

from benchmarks.designs.forms import Fields
from benchmarks.designs.surroundings import GROUP, LETTERS, MARKS, ORDERS, RESULTS
from benchmarks.errors import NoFigure

OURS = "benchmarks"
CHUNK = 1000
PAGE = 5000
BEYOND_ALL = "18446744073709551615-18446744073709551615"
COUNTS_READ_ENTRIES = (7, 0)
POLL_S = 0.01
REWRITE_LIMIT_S = 300.0
_ORDER_ID = re.compile(rb'"order_id": ?"([^"]+)"')
_ENTRY_ID = re.compile(rb'"entry_id": ?"([^"]+)"')


@dataclass(frozen=True)
class Result:
    """One entry of the results stream: when it was added, its order, and when that was added, in ms."""

    at_ms: int
    order_id: bytes
    order_at_ms: int | None


class Streams:
    """The streams of one Redis, seen over one connection of ours."""

    def __init__(self, url: str) -> None:
        """Connect; nothing is changed yet."""
        self.url = url
        # One connection, by which strangers are told from us.
        self._client: Any = redis.Redis.from_url(
            url, protocol=2, client_name=OURS, single_connection_client=True
        )
        self._client.response_callbacks.clear()
        self.version = self._info("server")["redis_version"]

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def clear(self) -> None:
        """Remove everything, and make the group anew, at the end of an empty stream."""
        self._call("FLUSHALL")
        self._call("XGROUP", "CREATE", ORDERS, GROUP, "$", "MKSTREAM")

    def add(self, entries: Iterable[Fields]) -> list[bytes]:
        """Add entries in one go and return their ids."""
        with self._client.pipeline(transaction=False) as pipeline:
            for fields in entries:
                pipeline.execute_command("XADD", ORDERS, "*", *fields)
            return list(pipeline.execute())

    def hold_back(self) -> None:
        """Give the group nothing of what is added from now on, also where somebody waits for it."""
        self._call("XGROUP", "SETID", ORDERS, GROUP, BEYOND_ALL)

    def add_but_last(self, entries: Iterable[Fields]) -> Fields:
        """Add entries, all but the last, which is returned."""
        waiting = iter(entries)
        last: Fields = []
        while chunk := list(islice(waiting, CHUNK)):
            self.add([last, *chunk[:-1]] if last else chunk[:-1])
            last = chunk[-1]
        return last

    def release(self, last: Fields, settled: int = 0) -> int:
        """Give the group what was held back and wake it with the last entry; return when, in ms of Redis.

        The first entries of the stream, as many as are `settled`, are not given again.
        """
        where = self._call("XRANGE", ORDERS, "-", "+", "COUNT", settled)[-1][0] if settled else b"0"
        counter = ("ENTRIESREAD", settled) if self._counts_read_entries else ()
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("XGROUP", "SETID", ORDERS, GROUP, where, *counter)
            pipeline.execute_command("XADD", ORDERS, "*", *last)
            _, entry_id = pipeline.execute()
        return milliseconds(entry_id)

    def hand_to_the_dead(self, count: int) -> None:
        """Have a consumer take so many entries of the group and go, so long ago that all may claim them."""
        while count > 0:
            reply = self._call(
                "XREADGROUP", "GROUP", GROUP, "gone", "COUNT", min(count, PAGE), "STREAMS", ORDERS, ">"
            )
            ids = [entry_id for entry_id, _ in reply[0][1]]
            self._call("XCLAIM", ORDERS, GROUP, "gone", 0, *ids, "IDLE", 3_600_000, "RETRYCOUNT", 1, "JUSTID")
            count -= len(ids)

    def rewrite_log_when_told(self) -> None:
        """Have Redis never rewrite its log by itself, in the middle of a run or just before it is told to."""
        self._call("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)

    def rewrite_log(self) -> None:
        """Have Redis rewrite its log now; return once it has. Raises NoFigure."""
        self._call("BGREWRITEAOF")
        deadline = time.monotonic() + REWRITE_LIMIT_S
        while self._is_rewriting():
            if time.monotonic() > deadline:
                raise NoFigure(f"Redis has not rewritten its log within {REWRITE_LIMIT_S:.0f} s.")
            time.sleep(POLL_S)

    def setting(self, name: str) -> str:
        """Return a setting of the server."""
        return str(self._call("CONFIG", "GET", name)[1].decode())

    def forget_marks_before(self, unix_s: float) -> None:
        """Have the worker take marks of entries of before for dropped, as retention would have long ago."""
        self._call("ZADD", MARKS, "+inf", f"horizon={unix_s * 1000:.0f}")

    def memory_mb(self) -> float:
        """Return how much memory Redis uses."""
        return int(self._info("memory")["used_memory"]) / 1e6

    def now_ms(self) -> int:
        """Return the time of Redis, by which entries get their ids."""
        seconds, microseconds = self._call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def round_trip_ms(self, url: str, count: int = 51) -> float:
        """Return the median round trip of a ping by that URL."""
        with redis.Redis.from_url(url, client_name=OURS) as client:
            client.ping()
            took = []
            for _ in range(count):
                began = time.perf_counter()
                client.ping()
                took.append(time.perf_counter() - began)
        return sorted(took)[count // 2] * 1000

    def waiting_readers(self) -> int:
        """Return how many connections wait for entries now."""
        return sum(each["cmd"] == "xreadgroup" and "b" in each["flags"] for each in self._clients())

    def strangers(self) -> list[str]:
        """Return who is connected besides us."""
        return [
            f"{each['addr']} {each['name'] or '(no name)'} on Redis"
            for each in self._clients()
            if each["name"] != OURS
        ]

    def length(self, stream: str) -> int:
        """Return how many entries a stream has."""
        return int(self._call("XLEN", stream))

    def pending(self) -> int:
        """Return how many entries are pending."""
        return int(self._call("XPENDING", ORDERS, GROUP)[0])

    def has_unread(self) -> bool:
        """Tell whether there are entries that nobody was given."""
        (group,) = (_named(each) for each in self._call("XINFO", "GROUPS", ORDERS))
        stream = _named(self._call("XINFO", "STREAM", ORDERS))
        return bool(group["last-delivered-id"] != stream["last-generated-id"])

    def letters(self) -> int:
        """Return how many dead letters there are."""
        return self.length(LETTERS)

    def results(self) -> Iterator[Result]:
        """Go through the results in order."""
        first = "-"
        while page := self._call("XRANGE", RESULTS, first, "+", "COUNT", PAGE):
            for entry_id, raw in page:
                yield _result(entry_id, raw)
            first = f"({page[-1][0].decode()}"

    @property
    def _counts_read_entries(self) -> bool:
        return tuple(map(int, self.version.split(".")[:2])) >= COUNTS_READ_ENTRIES

    def _is_rewriting(self) -> bool:
        state = self._info("persistence")
        return state["aof_rewrite_in_progress"] == "1" or state["aof_rewrite_scheduled"] == "1"

    def _clients(self) -> list[dict[str, str]]:
        lines = self._call("CLIENT", "LIST").decode().splitlines()
        return [dict(pair.split("=", 1) for pair in line.split(" ")) for line in lines]

    def _info(self, section: str) -> dict[str, str]:
        lines = self._call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _call(self, *command: str | int | bytes) -> Any:  # noqa: ANN401  replies are untyped
        return self._client.execute_command(*command)


def milliseconds(entry_id: bytes) -> int:
    """Return when an entry was added."""
    return int(entry_id.split(b"-")[0])


def _result(entry_id: bytes, raw: Sequence[bytes]) -> Result:
    fields = dict(zip(raw[::2], raw[1::2], strict=True))
    body = b"".join(chain.from_iterable(fields.items()))
    # A library's envelope is not taken apart: what it holds is JSON in any case.
    order_id = fields.get(b"order_id") or _within(_ORDER_ID, body)
    source = fields.get(b"entry_id") or _within(_ENTRY_ID, body)
    added = milliseconds(source) if b"-" in source else None
    return Result(milliseconds(entry_id), order_id, added)


def _within(pattern: re.Pattern[bytes], body: bytes) -> bytes:
    found = pattern.search(body)
    return found[1] if found else b""


def _named(reply: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
