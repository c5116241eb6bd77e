"""Makes what reads entries and what writes results and letters, as the settings have them."""

import time
from collections.abc import Callable, Mapping

import msgspec

from worker import __version__, wire
from worker.domain.decimals import Digits
from worker.domain.fleets import source_of
from worker.domain.texts import HIDDEN
from worker.settings import Settings
from worker.store import RecentOrders

# Of a row what is no field of an order, and by which it is found.
_OURS = frozenset({"order_id", "entry_id", "status", "executed_at"})


def decoder_of(
    settings: Settings, *, warn: Callable[[Mapping[str, str]], None] = lambda _: None
) -> wire.Decoder:
    """Return the decoder with the limits that are set. `warn` is told of names that nearly are ours."""
    return wire.Decoder(
        source=settings.fleet.source,
        source_before=source_of(settings.orders_stream),
        order_id_field=settings.order_id_field,
        max_bytes=settings.max_entry_bytes,
        max_fields=settings.max_entry_fields,
        max_depth=settings.max_entry_depth,
        digits=Digits(settings.max_integer_digits, settings.max_fraction_digits),
        warn=warn,
    )


def hiding_of(settings: Settings) -> wire.Hiding:
    """Return what knows the fields whose values are not shown."""
    return wire.Hiding(settings.hidden_names)


def shown_orders(found: RecentOrders, hiding: wire.Hiding) -> object:
    """Return the rows of /orders as they may be shown: of hidden fields, and of errors that quote them."""
    if not hiding:
        return found
    rows = msgspec.to_builtins(found)
    for row in rows["orders"]:
        said = {name: value for name, value in row.items() if value is not None and name not in _OURS}
        row.update({name: HIDDEN for name in said if hiding.hides(name)})
        if row["error_message"] is not None:
            row["error_message"] = hiding.quoting(row["error_message"], said)
    return rows


def renderer_of(settings: Settings, consumer: str) -> wire.Renderer:
    """Return what writes results and dead letters, in the name of a consumer."""
    return wire.Renderer(
        source=settings.fleet.source,
        consumer=consumer,
        version=__version__,
        copies=settings.results_channel is not None,
        max_bytes=settings.max_entry_bytes,
        max_fields=settings.max_entry_fields,
        clock=time.time,
    )
