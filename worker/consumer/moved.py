"""Whether a stream that nothing is known of was another source before: it was renamed, or moved without its token."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from worker.consumer.ports import Decoder
from worker.domain.deliveries import BEGINNING, Delivery
from worker.domain.errors import ConfigurationError
from worker.domain.fleets import Foreign
from worker.domain.orders import Undecodable

LAST = "+"
# So many are looked at: of a stream that was moved those are the ones that were executed.
FIRST_ORDERS = 500


class Token(Protocol):
    """What the orders stream is known by."""

    def is_known(self) -> bool:
        """Whether it has a token; where that was lost, or not moved with the stream, it has none."""


class Entry(Protocol):
    """One entry of a stream, names and values in turn."""

    @property
    def entry_id(self) -> str:
        """Its id."""

    @property
    def fields(self) -> tuple[bytes, ...]:
        """Names and values in turn."""


class Entries(Protocol):
    """What the orders stream holds."""

    def order_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the orders from one id up to another."""


class Rows(Protocol):
    """The rows of all sources."""

    def rows_of_others(self, entry_ids: Collection[str]) -> Sequence[Foreign]:
        """Return the rows that other sources have of entries of these ids."""


def refuse_what_others_executed(token: Token, entries: Entries, rows: Rows, decoder: Decoder) -> None:
    """Raise ConfigurationError where a stream without a token begins with entries that another source has executed.

    Under a new source what was executed there, and not settled yet, would be executed again. Call it before the stream
    gets a token. Raises Outage.
    """
    if token.is_known():
        return
    looked_at = 0
    for page in entries.order_pages(BEGINNING, LAST):
        _refuse_what_is_among(page, rows, decoder)
        looked_at += len(page)
        if looked_at >= FIRST_ORDERS:
            return


def _refuse_what_is_among(page: Sequence[Entry], rows: Rows, decoder: Decoder) -> None:
    fields = {each.entry_id: each.fields for each in page}
    for row in rows.rows_of_others(list(fields)):
        order = decoder.decode(Delivery(row.entry_id, fields[row.entry_id], 1, True))
        if isinstance(order, Undecodable) or order.fingerprint != row.fingerprint:
            # Another stream has an entry of that id.
            continue
        # Where it publishes elsewhere it may be another fleet that had the same order; its row is met, and is a conflict. An order
        # without an id meets no row.
        unmet = row.same_results or row.order_id != order.order_id
        if unmet and row.order_id == decoder.called_by(row.source, order.order_id, row.entry_id):
            raise ConfigurationError(
                f"WORKER_SOURCE: nothing is known of this orders stream, and its entry {row.entry_id} was executed as order"
                f" {row.order_id!r} of the source {row.source!r}: set WORKER_SOURCE={row.source}"
            )
