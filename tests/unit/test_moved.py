"""A stream of which nothing is known, and what another source executed among its first 500 orders."""

from collections.abc import Collection, Iterator, Sequence

import pytest

from tests.builders import decoder, delivery, flat
from tests.fakes import FakeSources, FakeToken
from worker.domain.errors import ConfigurationError
from worker.domain.fleets import Foreign
from worker.domain.orders import Order
from worker.source.moved import FIRST_ORDERS, refuse_what_others_executed
from worker.stream.order_trail import Found

A_PAGE = 16


class Stream:
    """Orders in small pages, as they come where entries are large; `read` counts these."""

    def __init__(self, count: int) -> None:
        self.orders = [Found(f"1-{place}", flat(order_id=f"o{place}")) for place in range(count)]
        self.read = 0

    def order_pages(self, first: str, last: str) -> Iterator[Sequence[Found]]:
        assert (first, last) == ("0-0", "+")
        for place in range(0, len(self.orders), A_PAGE):
            self.read += 1
            yield self.orders[place : place + A_PAGE]


class Others(FakeSources):
    """The rows of another source: of one entry."""

    def __init__(self, entry: Found) -> None:
        super().__init__()
        order = decoder().decode(delivery(entry.entry_id, entry.fields))
        assert isinstance(order, Order)
        self.row = Foreign("other", entry.entry_id, order.order_id, order.fingerprint, same_results=True)

    def rows_of_others(self, entry_ids: Collection[str]) -> Sequence[Foreign]:
        return [self.row] if self.row.entry_id in entry_ids else []


@pytest.mark.parametrize("place", [0, A_PAGE, FIRST_ORDERS - 1])
def test_stream_is_refused_where_another_source_has_executed_one_of_its_first_orders(place: int) -> None:
    stream = Stream(2 * FIRST_ORDERS)

    with pytest.raises(ConfigurationError, match="set WORKER_SOURCE=other"):
        refuse_what_others_executed(FakeToken(known=False), stream, Others(stream.orders[place]), decoder())


def test_no_more_is_read_than_its_first_orders() -> None:
    stream = Stream(2 * FIRST_ORDERS)

    refuse_what_others_executed(FakeToken(known=False), stream, Others(stream.orders[-1]), decoder())

    assert stream.read == -(-FIRST_ORDERS // A_PAGE)
