"""What an audit has seen and must remember, on disk: however much it is, memory stays as it is."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from worker.domain.errors import ConfigurationError
from worker.domain.evidence import Buried, BuriedEntry, PublishedResult, by_mark

# SQLite keeps so much of it in memory at the most, in KiB.
CACHE_KIB = 32_768

_TABLES = (
    "CREATE TABLE results (order_id TEXT, result_id TEXT, digest BLOB, entry_id TEXT, seen INTEGER)",
    "CREATE TABLE letters (mark TEXT, letter_id TEXT, conflict INTEGER)",
    "CREATE TABLE suspect_orders (order_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE suspect_entries (entry_id TEXT PRIMARY KEY) WITHOUT ROWID",
)
# Made once the most is there: sorting takes seconds where keeping a growing tree in order takes minutes.
_INDEXES = (
    "CREATE INDEX results_of_order ON results (order_id)",
    "CREATE INDEX letters_of_mark ON letters (mark)",
)
_SUSPECTS = {"orders": "suspect_orders (order_id)", "entries": "suspect_entries (entry_id)"}


class Scratch:
    """A file that nobody else sees, gone with the audit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Nobody reads it after a crash.
        connection.execute("PRAGMA journal_mode = OFF")
        for statement in _TABLES:
            connection.execute(statement)

    def add_results(self, results: Iterable[tuple[str, str, bytes, str]]) -> None:
        """Remember results: order id, result id, digest and entry id, in the order of the stream."""
        self._connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?, 0)", results)

    def add_letters(self, letters: Iterable[tuple[str, Buried]]) -> None:
        """Remember dead letters: their ids, and what they say of the entries they bury."""
        self._connection.executemany(
            "INSERT INTO letters VALUES (?, ?, ?)",
            ((said.mark, letter_id, said.conflict) for letter_id, said in letters),
        )

    def make_searchable(self) -> None:
        """Call once, when most of it has been added and before anything is asked for."""
        for statement in _INDEXES:
            self._connection.execute(statement)

    def results(
        self, order_ids: Sequence[str], pruned: Callable[[str, str], bool] = lambda _order, _entry: False
    ) -> dict[str, PublishedResult]:
        """Return what is remembered of the results of these orders, and note that somebody asked.

        Left out is what `pruned` says of an order and the entry that its result names.
        """
        wanted = _json(order_ids)
        found = self._connection.execute(
            "SELECT r.order_id, r.result_id, r.digest, r.entry_id FROM json_each(?) AS w"
            " JOIN results AS r ON r.order_id = w.value ORDER BY r.rowid",
            (wanted,),
        ).fetchall()
        self._connection.execute(
            "UPDATE results SET seen = 1 WHERE seen = 0 AND order_id IN (SELECT value FROM json_each(?))",
            (wanted,),
        )
        rows = [each for each in found if not pruned(each[0], each[3])]
        times = Counter(order_id for order_id, *_ in rows)
        # Backwards, so that the first of an order stays.
        return {
            order_id: PublishedResult(result_id, digest, times[order_id], entry_id)
            for order_id, result_id, digest, entry_id in reversed(rows)
        }

    def letters(self, marks: Iterable[str], *, conflicts: bool) -> dict[str, BuriedEntry]:
        """Return what is remembered of the dead letters of what has these marks, by mark.

        Those of conflicts are among them or not.
        """
        rows = self._connection.execute(
            "SELECT l.mark, l.letter_id FROM json_each(?) AS w"
            " JOIN letters AS l ON l.mark = w.value WHERE NOT l.conflict OR ? ORDER BY l.rowid",
            (_json(list(marks)), conflicts),
        ).fetchall()
        return by_mark(rows)

    def suspect_orders(self, order_ids: Iterable[str]) -> None:
        """Remember orders that must be looked at again."""
        self._suspect("orders", order_ids)

    def suspect_entries(self, entry_ids: Iterable[str]) -> None:
        """Remember entries that must be looked at again."""
        self._suspect("entries", entry_ids)

    def suspect_unseen_results(self) -> None:
        """Remember the orders that have a result and that nobody has asked for."""
        self._connection.execute(
            "INSERT OR IGNORE INTO suspect_orders SELECT order_id FROM results WHERE seen = 0"
        )

    def suspected_orders(self, count: int) -> Iterator[list[str]]:
        """Yield the orders to look at again, so many at a time."""
        return self._pages("suspect_orders", "order_id", count)

    def suspected_entries(self, count: int) -> Iterator[list[str]]:
        """Yield the entries to look at again, so many at a time."""
        return self._pages("suspect_entries", "entry_id", count)

    def suspects(self) -> int:
        """Return how many there are to look at again."""
        (count,) = self._connection.execute(
            "SELECT (SELECT count(*) FROM suspect_orders) + (SELECT count(*) FROM suspect_entries)"
        ).fetchone()
        return int(count)

    def _suspect(self, kind: str, ids: Iterable[str]) -> None:
        self._connection.executemany(
            f"INSERT OR IGNORE INTO {_SUSPECTS[kind]} VALUES (?)",  # noqa: S608  a name of ours
            [(each,) for each in ids],
        )

    def _pages(self, table: str, key: str, count: int) -> Iterator[list[str]]:
        after = ""
        while True:
            rows = self._connection.execute(
                f"SELECT {key} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?",  # noqa: S608  our names
                (after, count),
            ).fetchall()
            if not rows:
                return
            page = [each for (each,) in rows]
            yield page
            after = page[-1]


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Open an empty one; its file is in TMPDIR, and nobody else can open it. Raises ConfigurationError."""
    # An empty name: SQLite makes a file of its own where memory runs short, and removes it.
    connection = sqlite3.connect("", isolation_level=None)
    try:
        kept = Scratch(connection)
        connection.execute("BEGIN")
        yield kept
    except sqlite3.Error as error:
        # What fits into the cache needs no file; the rest needs a folder that can be written to, with room in
        # it.
        raise ConfigurationError(f"TMPDIR: what was seen can't be kept on disk: {error}") from error
    finally:
        connection.close()


def _json(ids: Sequence[str]) -> str:
    return msgspec.json.encode(ids).decode()
