"""Looks for orders among the rows, in so many of them at a time that any table takes it."""

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, true, tuple_

from worker.domain.fleets import Fleet
from worker.domain.searching import FoundOrder, FoundOrders, Place, Search
from worker.store.engine import Database
from worker.store.tables import of_source, orders

PAGE = 50
# Of the index on recorded_at so many entries are read at a time, whatever is wanted of their rows.
MOST_LOOKED_THROUGH = 10_000

_SHOWN = [orders.c[name] for name in FoundOrder.__struct_fields__]


class OrderSearch:
    """Finds the rows of a fleet and those of before there were sources. Raises Outage, and Refused."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._ours = of_source(fleet.source)

    def __call__(self, wanted: Search) -> FoundOrders:
        """Return the newest rows that are as wanted, no more than a page."""
        if wanted.identifier is not None:
            with self._database.transaction() as connection:
                rows = connection.execute(self.named(wanted)).all()
            return FoundOrders(tuple(FoundOrder(*row) for row in rows), len(rows), None, None)
        with self._database.transaction() as connection:
            found = connection.execute(self.query(wanted)).all()
        return _page([row for row in found if row.order_id is not None], found[0])

    def named(self, wanted: Search) -> Any:  # noqa: ANN401  SQLAlchemy's type of it names each column
        """Return the statement that finds an order by its name."""
        named = or_(orders.c.order_id == wanted.identifier, orders.c.entry_id == wanted.identifier)
        query = select(*_SHOWN).where(named, self._ours, *_window(wanted), *_wishes(wanted))
        return query.order_by(*_newest(orders.c)).limit(PAGE)

    def query(self, wanted: Search) -> Any:  # noqa: ANN401  SQLAlchemy's type of it names each column
        """Return the statement: what was looked through, beside each row of a page that fits."""
        fits = and_(true(), self._ours, *_wishes(wanted))
        looked = (
            select(orders.c.order_id, orders.c.recorded_at, orders.c.entry_id, fits.label("fits"))
            .where(*_window(wanted))
            .order_by(*_newest(orders.c))
            .limit(MOST_LOOKED_THROUGH)
            .cte("looked")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        oldest = looked.c.recorded_at, looked.c.entry_id
        last = select(*oldest).order_by(*oldest).limit(1).cte("last")
        seen = select(func.count().label("looked")).select_from(looked).cte("seen")
        page = (
            select(looked.c.order_id)
            .where(looked.c.fits)
            .order_by(*_newest(looked.c))
            .limit(PAGE + 1)
            .cte("page")
        )
        return (
            select(
                *_SHOWN,
                seen.c.looked,
                last.c.recorded_at.label("last_at"),
                last.c.entry_id.label("last_entry"),
            )
            .select_from(seen)
            .outerjoin(last, true())
            .outerjoin(page, true())
            .outerjoin(orders, orders.c.order_id == page.c.order_id)
            .order_by(*_newest(orders.c))
        )


def _page(rows: list[Row[Any]], seen: Row[Any]) -> FoundOrders:
    """Return a page, and where the next one begins, if anything may be there."""
    shown = tuple(FoundOrder(*row[: len(_SHOWN)]) for row in rows[:PAGE])
    if len(rows) > PAGE:
        # What was looked at behind the last one that is shown comes again with the next page.
        return FoundOrders(shown, seen.looked, None, Place(shown[-1].recorded_at, shown[-1].entry_id))
    older = Place(seen.last_at, seen.last_entry) if seen.looked == MOST_LOOKED_THROUGH else None
    return FoundOrders(shown, seen.looked, seen.last_at, older)


def _newest(columns: Any) -> tuple[Any, Any]:  # noqa: ANN401  of a table or of a part of a statement
    return columns.recorded_at.desc(), columns.entry_id.desc()


def _window(wanted: Search) -> list[ColumnElement[bool]]:
    at = orders.c.recorded_at
    place = wanted.place
    bounds = [
        None if wanted.since is None else at >= wanted.since,
        None if wanted.until is None else at < wanted.until,
        # The first alone is what the index can be entered with.
        None if place is None else at <= place.recorded_at,
        None if place is None else tuple_(at, orders.c.entry_id) < (place.recorded_at, place.entry_id),
    ]
    return [each for each in bounds if each is not None]


def _wishes(wanted: Search) -> list[ColumnElement[bool]]:
    wishes = [
        None if wanted.symbol is None else orders.c.symbol == wanted.symbol,
        None if wanted.status is None else orders.c.status == wanted.status,
        None if wanted.said is None else orders.c.error_message.icontains(wanted.said, autoescape=True),
    ]
    return [each for each in wishes if each is not None]
