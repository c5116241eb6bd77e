"""Rows that are old enough to go, and letting them go in transactions of a bounded size."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.expression import ColumnElement

from worker.domain.errors import Outage
from worker.domain.fleets import Fleet
from worker.domain.orders import Status
from worker.domain.pruning import Candidate, Pruned, day_of
from worker.store.engine import Database
from worker.store.sources import Sources, is_alone
from worker.store.tables import UNSOURCED, of_source, one_of, order_prunings, orders, trades
from worker.store.unseen import PRUNE, require_seen

_TOLD_BY = (
    orders.c.recorded_at,
    orders.c.entry_id,
    orders.c.order_id,
    orders.c.status,
    (orders.c.source == UNSOURCED).label("unsourced"),
)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_PLACE = tuple_(orders.c.recorded_at, orders.c.entry_id)


class RowsToPrune:
    """The rows of our source, the oldest first. Raises Outage; every step is repeatable."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet
        self._sources = Sources(database, fleet)

    def now(self) -> datetime:
        """Return the time of the database."""
        with self._database.transaction() as connection:
            at: datetime = connection.execute(select(func.now())).scalar_one()
            return at

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""
        with self._database.transaction() as connection:
            return is_alone(connection, self._fleet)

    def streams_lately(self) -> int:
        """Return how many streams were worked on as our source lately, and may still be."""
        return self._sources.streams_lately()

    def page(self, after: Candidate | None, until: datetime, count: int) -> list[Candidate]:
        """Return the first rows behind one that stand as they are since before a time, the oldest first.

        A row whose order came again is as young as that.
        """
        query = select(*_TOLD_BY).where(*self._old(until)).order_by(orders.c.recorded_at, orders.c.entry_id)
        if after is not None:
            query = query.where(tuple_(after.recorded_at, after.entry_id) < _PLACE)
        with self._database.transaction() as connection:
            return [Candidate(*row) for row in connection.execute(query.limit(count))]

    def rehearse(self, token: str) -> None:
        """Run what lets rows go on none, and count one; to be rolled back. The token is nobody's source.

        Raises AccessDenied where rows may be kept from being locked or deleted without an error.
        """
        with self._database.transaction() as connection:
            require_seen(connection, PRUNE)
            connection.execute(_locked([], self._old(_LONG_AGO)))
            _delete(connection, [])
            _count(connection, token, [Candidate(_LONG_AGO, "1-1", token, Status.DEAD, unsourced=False)])

    def of_orders(self, order_ids: Sequence[str]) -> list[Candidate]:
        """Return the rows of orders, whenever they were recorded."""
        query = select(*_TOLD_BY).where(one_of(orders.c.order_id, order_ids), of_source(self._fleet.source))
        with self._database.transaction() as connection:
            return [Candidate(*row) for row in connection.execute(query)]

    def count(self, since: datetime, before: datetime, most: int) -> int:
        """Return how many rows were recorded between two times, `most` where there are more."""
        between = (orders.c.recorded_at >= since, orders.c.recorded_at < before)
        some = select(orders.c.order_id).where(*between, of_source(self._fleet.source)).limit(most).subquery()
        with self._database.transaction() as connection:
            return int(connection.scalar(select(func.count()).select_from(some)) or 0)

    def remove(self, candidates: Sequence[Candidate], until: datetime) -> int:
        """Remove rows with their trades, and count them by day, in one transaction; return how many went.

        One that has changed since it was looked at, or whose order came again, stays. Raises RowRefused where
        another table references one of them, Refused where one may not be deleted; nothing is removed then.
        """
        looked_at = {each.order_id: each for each in candidates}
        with self._database.transaction() as connection:
            found = connection.execute(_locked(list(looked_at), self._old(until)))
            steady = [each for row in found if (each := Candidate(*row)) == looked_at[each.order_id]]
            if steady:
                _delete(connection, [each.order_id for each in steady])
                _count(connection, self._fleet.source, steady)
        return len(steady)

    def _old(self, until: datetime) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions on what stands as it is since before a time."""
        repeated = or_(orders.c.repeated_at.is_(None), orders.c.repeated_at < until)
        return orders.c.recorded_at < until, repeated, of_source(self._fleet.source)


def _locked(order_ids: Sequence[str], old: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Return what locks rows that are still old.

    In one order everywhere, as rows are written: no deadlocks with replicas, nor with others who prune. Then
    nobody can give them trades.
    """
    return (
        select(*_TOLD_BY)
        .where(one_of(orders.c.order_id, order_ids), orders.c.status != Status.SUBMITTED, *old)
        .order_by(orders.c.order_id)
        .with_for_update()
    )


def _delete(connection: Connection, order_ids: Sequence[str]) -> None:
    connection.execute(delete(trades).where(one_of(trades.c.order_id, order_ids)))
    gone = connection.execute(delete(orders).where(one_of(orders.c.order_id, order_ids))).rowcount
    if gone != len(order_ids):
        kept = f"{gone} of {len(order_ids)} rows were deleted"
        raise Outage("postgresql", f"{kept}: is there a trigger, or a policy, that keeps them?")


def _count(connection: Connection, source: str, rows: Sequence[Candidate]) -> None:
    line = upsert(order_prunings).values(list(_by_day(source, rows)))
    added = {name: order_prunings.c[name] + line.excluded[name] for name in ("orders", "results")}
    connection.execute(
        line.on_conflict_do_update(
            index_elements=["source", "day"], set_={**added, "pruned_at": line.excluded.pruned_at}
        )
    )


def _by_day(source: str, rows: Iterable[Candidate]) -> Iterator[dict[str, object]]:
    """Yield what is to be added for each day, in order: of two who prune one waits for the other."""
    rows_of, results_of = Counter[date](), Counter[date]()
    for each in rows:
        day = day_of(each.entry_id) or date.max
        rows_of[day] += 1
        results_of[day] += each.has_result
    for day in sorted(rows_of):
        counts = {"orders": rows_of[day], "results": results_of[day]}
        yield {"source": source, "day": day, **counts, "pruned_at": func.now()}


def pruned(database: Database, fleet: Fleet, day: date | None) -> Pruned | None:
    """Return how many rows of our source were let go of orders that came on a day, or on any; None: none."""
    days, ours = order_prunings.c.day, order_prunings.c.source == fleet.source
    sums = (func.sum(order_prunings.c.orders), func.sum(order_prunings.c.results))
    query = select(*sums, func.min(days), func.max(days)).where(ours)
    if day is not None:
        query = query.where(days == day)
    with database.transaction() as connection:
        rows, results, first, last = connection.execute(query).one()
    return None if rows is None else Pruned(int(rows), int(results), first, last)


def pruned_days(database: Database) -> dict[date, int]:
    """Return on which days entries were added whose rows were pruned, and how many had results.

    Rows of all sources are counted: several may publish on one stream.
    """
    day, results = order_prunings.c.day, func.sum(order_prunings.c.results)
    with database.transaction() as connection:
        found = connection.execute(select(day, results).group_by(day))
        return {row[0]: int(row[1]) for row in found}
