"""Whether an unknown stream was another source before: it was renamed, or moved without its token."""

from collections.abc import Sequence

from worker.domain.deliveries import BEGINNING, Delivery
from worker.domain.errors import ConfigurationError
from worker.domain.orders import Undecodable
from worker.domain.ports import Decoder, Entry
from worker.source.ports import Entries, Sources, Token

LAST = "+"
# So many are looked at: of a stream that was moved those are the ones that were executed.
FIRST_ORDERS = 500


def refuse_what_others_executed(token: Token, entries: Entries, sources: Sources, decoder: Decoder) -> None:
    """Raise ConfigurationError where a stream without a token begins with entries another source executed.

    Under a new source what was executed there, and not settled yet, would be executed again. Call it before
    the stream gets a token. Raises Outage.
    """
    if token.is_known():
        return
    looked_at = 0
    for page in entries.order_pages(BEGINNING, LAST):
        _refuse_what_is_among(page, sources, decoder)
        looked_at += len(page)
        if looked_at >= FIRST_ORDERS:
            return


def _refuse_what_is_among(page: Sequence[Entry], sources: Sources, decoder: Decoder) -> None:
    fields = {each.entry_id: each.fields for each in page}
    for row in sources.rows_of_others(list(fields)):
        order = decoder.decode(Delivery(row.entry_id, fields[row.entry_id], 1, True))
        if isinstance(order, Undecodable) or order.fingerprint != row.fingerprint:
            # Another stream has an entry of that id.
            continue
        # Where it publishes elsewhere it may be another fleet that had the same order; its row is met, and is
        # a conflict. An order without an id meets no row.
        unmet = row.same_results or row.order_id != order.order_id
        if unmet and row.order_id == decoder.called_by(row.source, order.order_id, row.entry_id):
            raise ConfigurationError(
                f"WORKER_SOURCE: nothing is known of this orders stream, and its entry {row.entry_id}"
                f" was executed as order {row.order_id!r} of the source {row.source!r}:"
                f" set WORKER_SOURCE={row.source}"
            )
