"""Every row read back is the row that was written: a result rendered from either is the same."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.builders import AT, filled, order, trade
from tests.contract.conftest import Stores
from worker import wire
from worker.domain.orders import Execution, Labels, OrderRecord, Side, Status, record_execution

MOST_EXACT = Decimal("9" * 20 + "." + "9" * 30)
LEAST_EXACT = Decimal("0." + "0" * 29 + "1")

amounts = st.decimals(min_value=LEAST_EXACT, max_value=MOST_EXACT, places=30) | st.decimals(
    min_value="0.00001", max_value=10**9, places=8
)
texts = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@st.composite
def records(draw: st.DrawFn) -> OrderRecord:
    made = order(
        side=draw(st.sampled_from(Side)),
        quantity=draw(amounts),
        price=draw(st.none() | amounts),
        labels=Labels(*(draw(texts) for _ in Labels.__struct_fields__)),
    )
    first, last = datetime(1990, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001  their zone is drawn
    at = draw(st.datetimes(first, last, timezones=st.just(UTC)))
    if draw(st.booleans()):
        return record_execution(made, Execution(Status.REJECTED, error_message=draw(texts)), at)
    fills = (trade(draw(st.text("abc-0", min_size=1)), quantity=made.quantity, price=draw(amounts)),)
    return record_execution(made, Execution(Status.FILLED, made.quantity, fills[0].price, fills), at)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(records(), min_size=1, max_size=8))
def test_row_read_back_is_the_row_that_was_written_and_renders_the_same(
    stores: Stores, batch: list[OrderRecord]
) -> None:
    store = stores.store()
    named = _named_anew(batch)

    written = store.record(named)
    found = store.find([row.entry_id for row in named])

    assert [found[row.entry_id] for row in named] == named
    assert [_rendered(found[row.entry_id]) for row in named] == [_rendered(row) for row in written]


def test_result_names_the_same_trade_however_the_executor_ordered_them(stores: Stores) -> None:
    store = stores.store()
    fills = (trade("z", quantity=Decimal("0.2")), trade("a", quantity=Decimal("0.3")), trade("Z"), trade("é"))
    made = order("a")

    (written,) = store.record([record_execution(made, replace(filled(made), trades=fills), AT)])

    found = store.find(["1-1"])["1-1"]
    assert found == written
    assert _rendered(found) == _rendered(written)


_numbers = iter(range(1, 1_000_000))


def _named_anew(batch: Sequence[OrderRecord]) -> list[OrderRecord]:
    numbers = [next(_numbers) for _ in batch]
    return [
        replace(row, order_id=f"order-{n}", entry_id=f"{n}-0") for n, row in zip(numbers, batch, strict=True)
    ]


def _rendered(row: OrderRecord) -> list[str]:
    return wire.result_fields(row)
