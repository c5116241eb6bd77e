"""Thousands of rows of every kind: what is published of a row, read back, is what the row says."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from tests.builders import FINGERPRINT
from tests.faults.fuzz.entries import Chance, amount, text
from tests.faults.fuzz.reading import read_result, said_by
from tests.faults.fuzz.reference import amount as exact
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from worker import wire
from worker.domain.orders import WITH_RESULT, Labels, OrderRecord, Side, Status, Trade

ROWS = 3_000
BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


def row(chance: Chance) -> OrderRecord:
    """Draw a row as PostgreSQL keeps one: no NUL, no half of a surrogate pair, finite amounts."""
    status = chance.choice(sorted(WITH_RESULT))
    filled = status is Status.FILLED
    quantity = _amount(chance)
    price = _amount(chance)
    trades = [Trade(_text(chance), quantity, price, Decimal(0)) for _ in range(chance.choice((1, 1, 2, 5)))]
    return OrderRecord(
        order_id=f"order-{chance.randrange(10**9)}",
        entry_id=f"{chance.randrange(10**13)}-{chance.randrange(9)}",
        fingerprint=FINGERPRINT,
        status=status,
        executed_at=BEGINNING + timedelta(microseconds=chance.randrange(4 * 10**15)),
        symbol=chance.choice((_text(chance), "BTCUSDT", None)),
        side=chance.choice((Side.BUY, Side.SELL, None)),
        quantity=chance.choice((quantity, quantity, None)),
        price=chance.choice((price, None)),
        labels=Labels(
            **{name: chance.choice((_text(chance), None, "")) for name in Labels.__struct_fields__}
        ),
        filled_quantity=quantity if filled else Decimal(chance.choice(("0", "0E-30", "-0", "0.000"))),
        average_price=price if filled else None,
        error_message=None if filled else _text(chance),
        trades=tuple(sorted(trades, key=lambda trade: trade.trade_id)) if filled else (),
    )


def _amount(chance: Chance) -> Decimal:
    while True:
        value = exact(amount(chance))
        if value is not None and value > 0:
            # As numeric columns hand it back, or as a product left it.
            _, digits, places = value.as_tuple()
            assert isinstance(places, int)
            zeros = chance.choice((0, 0, 1, 10))
            return Decimal((0, (*digits, *(0,) * zeros), places - zeros))


def _text(chance: Chance) -> str:
    return text(chance).replace("\0", "").encode("utf-8", "replace").decode()


def test_every_result_reads_back_as_what_its_row_says() -> None:
    spelling = wire.Spelling("orders")
    for number in numbers(ROWS):
        made = row(drawn("row", number))
        with case(number, made):
            fields = wire.result_fields(made)
            raw = [part.encode() for part in fields]
            copied = json.loads(wire.result_copy(fields), object_pairs_hook=list)

            assert read_result(raw) == said_by(made)
            assert [tuple(pair) for pair in copied] == list(zip(fields[::2], fields[1::2], strict=True))
            assert wire.result_fields(_handed_back(made)) == fields
            assert spelling.result_of(raw) == (made.order_id, spelling.digest_of(made), made.entry_id)
            assert spelling.differences(raw, made) == []

    record("fuzz", "results", rows=len(numbers(ROWS)), seed=SEED)


def _handed_back(made: OrderRecord) -> OrderRecord:
    """The same row with every amount in another scale."""
    return replace(
        made,
        filled_quantity=made.filled_quantity + Decimal("0E-30")
        if made.filled_quantity == 0
        else _scaled(made.filled_quantity),
        average_price=None if made.average_price is None else _scaled(made.average_price),
        quantity=None if made.quantity is None else _scaled(made.quantity),
    )


def _scaled(value: Decimal) -> Decimal:
    sign, digits, places = value.as_tuple()
    assert isinstance(places, int)
    return Decimal((sign, (*digits, 0, 0), places - 2))


def test_row_that_says_anything_else_has_another_result() -> None:
    spelling = wire.Spelling("orders")
    for number in numbers(ROWS):
        chance = drawn("row", number)
        made = row(chance)
        changes: tuple[dict[str, object], ...] = (
            {"status": Status.ERROR if made.status is not Status.ERROR else Status.REJECTED},
            {"filled_quantity": made.filled_quantity + 1},
            {"symbol": f"{made.symbol}x"},
            {"side": Side.BUY if made.side is not Side.BUY else None},
            {"error_message": f"{made.error_message}."},
            {"labels": replace(made.labels, bot_id=f"{made.labels.bot_id}.")},
            {"executed_at": made.executed_at + timedelta(seconds=1)},
            {"entry_id": f"{made.entry_id}0"},
        )
        change = chance.choice(changes)
        with case(number, (made, change)):
            raw = [part.encode() for part in wire.result_fields(made)]
            other = replace(made, **change)

            assert spelling.digest_of(other) != spelling.digest_of(made)
            assert spelling.differences(raw, other)
