"""Which streams the sources of a database are, and where they publish."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from worker.domain.errors import Outage
from worker.domain.fleets import FRESH_S, Fleet, Foreign
from worker.store.engine import Database
from worker.store.tables import UNSOURCED, order_sources, orders

_book = order_sources.c
_FRESH = timedelta(seconds=FRESH_S)
_SETTLED_IN = timedelta(seconds=20)


class Sources:
    """The book of sources, one line for each stream. Raises Outage."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet
        self._lately = and_(_book.source == fleet.source, _book.last_seen > func.now() - _FRESH)

    def seen(self, token: str, results_token: str) -> str | None:
        """Note that a stream is worked on as our source.

        Returns the other source that it is, and then nothing is noted.
        """
        # One statement: of two sources that ask at once, one gets the stream.
        line = insert(order_sources).values(
            token=token,
            source=self._fleet.source,
            results=self._fleet.results,
            results_token=results_token,
            since=func.now(),
            last_seen=func.now(),
        )
        new = line.excluded
        stays = and_(_book.results == new.results, _book.results_token == new.results_token)
        noted = line.on_conflict_do_update(
            index_elements=["token"],
            set_={
                "results": new.results,
                "results_token": new.results_token,
                "since": case((stays, _book.since), else_=func.now()),
                "last_seen": func.now(),
            },
            where=_book.source == new.source,
        ).returning(_book.source)
        with self._database.transaction() as connection:
            if connection.scalar(noted) is not None:
                return None
            other: str | None = connection.scalar(select(_book.source).where(_book.token == token))
        if other is None:
            raise Outage("postgresql", "the line of the orders stream vanished from the book of sources")
        return other

    def gone(self, token: str) -> None:
        """Forget a stream that is not there any more."""
        with self._database.transaction() as connection:
            connection.execute(
                delete(order_sources).where(_book.source == self._fleet.source, _book.token == token)
            )

    def streams(self) -> int:
        """Return how many streams are worked on as our source; more than one is a mistake.

        One that was not seen any more since another came may have made room for it.
        """
        newest = select(func.max(_book.since)).where(self._lately).scalar_subquery()
        query = select(func.count()).where(self._lately, _book.last_seen >= newest)
        with self._database.transaction() as connection:
            return int(connection.scalar(query) or 0)

    def streams_lately(self) -> int:
        """Return how many streams were worked on as our source lately, and may still be.

        Who works on one has that said every ten to fifteen seconds: one that was silent for twenty, since the
        newest came, has gone.
        """
        newest = select(func.max(_book.since)).where(self._lately).scalar_subquery()
        may_be = or_(_book.last_seen >= newest, newest > func.now() - _SETTLED_IN)
        with self._database.transaction() as connection:
            return int(connection.scalar(select(func.count()).where(self._lately, may_be)) or 0)

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""
        with self._database.transaction() as connection:
            return is_alone(connection, self._fleet)

    def rows_of_others(self, entry_ids: Collection[str]) -> list[Foreign]:
        """Return the rows that other sources have of entries of these ids."""
        others = orders.c.source.not_in([UNSOURCED, self._fleet.source])
        named_like_ours = (
            select(_book.token)
            .where(_book.source == orders.c.source, _book.results == self._fleet.results)
            .exists()
        )
        told_by = (
            orders.c.source,
            orders.c.entry_id,
            orders.c.order_id,
            orders.c.fingerprint,
            named_like_ours,
        )
        query = select(*told_by).where(orders.c.entry_id.in_(entry_ids), others)
        with self._database.transaction() as connection:
            return [Foreign(*row) for row in connection.execute(query)]


def is_alone(connection: Connection, fleet: Fleet) -> bool:
    """Whether no other source than that of a fleet was ever seen in this database."""
    others = select(_book.source).where(_book.source != fleet.source).limit(1)
    return connection.scalar(others) is None


def publishing_here(connection: Connection, fleet: Fleet, others: Collection[str]) -> dict[str, datetime]:
    """Return since when other sources publish where a fleet does, less those of which that is unclear."""
    if not others:
        return {}
    asked = select(order_sources).where(_book.source.in_([*others, fleet.source])).order_by(_book.source)
    lines = groupby(connection.execute(asked).all(), key=attrgetter("source"))
    places = {source: _place(list(of_source)) for source, of_source in lines}
    ours = places.pop(fleet.source, None)
    if ours is None or ours.results != fleet.results:
        return {}
    return {
        source: line.since
        for source, line in places.items()
        if line is not None and (line.results, line.results_token) == (ours.results, ours.results_token)
    }


def _place(lines: Sequence[Any]) -> Any | None:  # noqa: ANN401  rows are untyped
    """Return the newest of the lines of a source, none where others of that time say something else."""
    newest = max(lines, key=attrgetter("last_seen"))
    lately = {
        (line.results, line.results_token) for line in lines if line.last_seen > newest.last_seen - _FRESH
    }
    return newest if len(lately) == 1 else None
