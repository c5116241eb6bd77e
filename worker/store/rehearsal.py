"""Runs every statement of a replica once, in a transaction that is rolled back.

A missing right shows so before the first order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from worker.domain.errors import AccessDenied, Outage, Refused
from worker.domain.evidence import Owner
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord, Side, Status, Trade
from worker.store.audit_pages import StoreEvidence
from worker.store.engine import Database
from worker.store.failures import code, outages
from worker.store.fidelity import denied
from worker.store.orders import OrderStore
from worker.store.pruning import RowsToPrune
from worker.store.queries import StoreInspector
from worker.store.sources import Sources

log = structlog.get_logger(__name__)

_AT = datetime(2000, 1, 1, tzinfo=UTC)
_ONE = Decimal(1)
# A statement that is not possible on a table, where somebody has made rules for it: no row's content is why.
_NOT_SUPPORTED = "0A"


_Writing: TypeAlias = Callable[[Database, Fleet, str], Sequence[Callable[[], object]]]


class _RolledBackError(Exception):
    """Nothing of the rehearsal stays."""


class _Stage(Database):
    """Transactions within one: each ends with a savepoint, so that a failed one costs the others nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self, *, guard: str | None = None) -> Iterator[Connection]:  # noqa: ARG002  no commit
        with outages(), self._connection.begin_nested():
            yield self._connection


def rehearse(database: Database, fleet: Fleet, token: str, *, prunes: bool) -> None:
    """Raise AccessDenied where a right is missing, Outage where PostgreSQL does not answer.

    A right is missing, too, where what is written does not stand, or is not seen, without an error. The token
    makes the rows those of nobody else. Whatever else is refused is left for the work to meet: it may be for
    the content of the rows. What lets rows go is rehearsed by whoever `prunes`.
    """
    for read in _reading(database, fleet, token):
        try:
            read()
        except Refused as error:
            # A row that can't be read must not keep replicas from starting.
            log.warning("a question could not be rehearsed", reason=str(error))
    # One transaction for each room: a limit on its time is meant for one batch.
    for writing in (_writing_orders, _writing_sources):
        _rehearse(writing, database, fleet, token)
    if prunes:
        rehearse_pruning(database, fleet, token)


def rehearse_pruning(database: Database, fleet: Fleet, token: str) -> None:
    """Raise AccessDenied where a right is missing that only those need who let rows go, Outage likewise."""
    _rehearse(_pruning, database, fleet, token)


def _rehearse(writing: _Writing, database: Database, fleet: Fleet, token: str) -> None:
    with suppress(_RolledBackError), database.transaction() as connection:
        for write in writing(_Stage(connection), fleet, token):
            _try(write)
        raise _RolledBackError


def _try(write: Callable[[], object]) -> None:
    try:
        write()
    except AccessDenied:
        raise
    except (Outage, Refused) as error:
        cause = error.__cause__
        if isinstance(cause, SQLAlchemyError) and (code(cause) or "").startswith(_NOT_SUPPORTED):
            raise AccessDenied("postgresql", str(error)) from error
        log.info("a statement could not be rehearsed", reason=str(error))


def _reading(database: Database, fleet: Fleet, token: str) -> list[Callable[[], object]]:
    store, evidence = OrderStore(database, fleet), StoreEvidence(database, fleet)
    inspector, sources = StoreInspector(database, fleet), Sources(database, fleet)
    return [
        store.ping,
        lambda: store.find([token]),
        evidence.alone,
        evidence.now,
        lambda: evidence.owned([token]),
        lambda: evidence.recorded(Owner(_AT, ""), _AT, 1),
        inspector.state,
        lambda: inspector.recent(1),
        sources.streams,
        sources.streams_lately,
        lambda: sources.rows_of_others([token]),
        evidence.pruned_days,
    ]


def _writing_orders(stage: Database, fleet: Fleet, token: str) -> list[Callable[[], object]]:
    store = OrderStore(stage, fleet)
    filled, second, outcome = (_record(token, name) for name in ("filled", "second", "intent"))
    unfilled = {"filled_quantity": Decimal(0), "average_price": None, "trades": ()}
    intent = replace(outcome, status=Status.SUBMITTED, **unfilled)
    dead = replace(_record(token, "dead"), status=Status.DEAD, **unfilled)
    replay = replace(filled, order_id=dead.order_id, entry_id=f"{token}-replay", replay_of=dead.entry_id)
    return [
        # Copied; copied beside a row that stands already; taken up; taken over, where the rest is inserted;
        # resolved.
        lambda: _carry(stage, store, store.record, [filled, dead, intent]),
        lambda: _carry(stage, store, store.record, [filled, second]),
        lambda: store.take_up(intent.entry_id, after_s=0),
        lambda: _carry(stage, store, store.record, [replay]),
        lambda: _carry(stage, store, store.resolve, [outcome]),
    ]


def _carry(
    stage: Database,
    store: OrderStore,
    write: Callable[[Sequence[OrderRecord]], Sequence[OrderRecord]],
    records: Sequence[OrderRecord],
) -> None:
    """Write rows; raise AccessDenied where they do not stand then with all their trades, or are not seen."""
    standing = write(records)
    found = store.find([each.entry_id for each in records])
    for record, row in zip(records, standing, strict=True):
        seen = found.get(record.entry_id)
        if any(each is None or _outline(each) != _outline(record) for each in (row, seen)):
            with stage.transaction() as connection:
                raise denied(connection, f"what was written of order {record.order_id} is not seen")


def _outline(record: OrderRecord) -> tuple[str, str, Status, int]:
    return record.order_id, record.entry_id, record.status, len(record.trades)


def _writing_sources(stage: Database, fleet: Fleet, token: str) -> list[Callable[[], object]]:
    sources = Sources(stage, fleet)
    return [lambda: sources.seen(token, token), lambda: sources.gone(token)]


def _pruning(stage: Database, fleet: Fleet, token: str) -> list[Callable[[], object]]:
    rows = RowsToPrune(stage, fleet)
    return [lambda: rows.page(None, _AT, 1), lambda: rows.rehearse(token)]


def _record(token: str, name: str) -> OrderRecord:
    return OrderRecord(
        order_id=f"{token}-{name}",
        entry_id=f"{token}-{name}",
        fingerprint=b"probe",
        status=Status.FILLED,
        executed_at=_AT,
        symbol="PROBE",
        side=Side.BUY,
        quantity=_ONE,
        filled_quantity=_ONE,
        average_price=_ONE,
        trades=(Trade(f"{token}-{name}", _ONE, _ONE, Decimal(0)),),
    )
