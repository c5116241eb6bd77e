"""What the fields of an order are called, and which order ids are allowed."""

import re
from collections.abc import Container, Mapping

from msgspec import Struct

from worker.domain.deliveries import is_entry_id
from worker.domain.fleets import ORDER_ID_LETTERS
from worker.domain.orders import Labels
from worker.domain.trace_context import TRACEPARENT

# Kept as sent; under the names that the domain has for them.
LABELS = Labels.__struct_fields__
# Those that tell one order from another of the same id.
TELLING_LABELS = ("strategy_id", "bot_id", "client_id")
# What is executed.
DECISIVE = ("symbol", "side", "quantity", "price", "stop_loss_pct")
# What a fingerprint is made of, in this order: with another, no order would be that of its row any more.
FINGERPRINTED = (*DECISIVE, *TELLING_LABELS)
ORDER_FIELDS = frozenset({"type", "order_id", *DECISIVE, *LABELS})

# Either name carries the other wire form: one JSON object with the fields of an order.
PAYLOAD_FIELDS = frozenset({"payload", "data"})
REPLAY_OF = "replay_of"
# None of what an order says: which way an entry came. An entry of nothing else is no order.
_OF_THE_ENTRY = frozenset({REPLAY_OF, TRACEPARENT})
RESERVED_FIELDS = frozenset({"order_id"}) | _OF_THE_ENTRY

ORDER_ID = re.compile(f"[{ORDER_ID_LETTERS}]{{1,128}}", re.ASCII)
_DERIVED = re.compile(r"(?:.*:)?([0-9]{1,20}-[0-9]{1,20})", re.ASCII)


def derived_order_id(source: str, entry_id: str) -> str:
    """Return the identity of an order that was sent without one: where it stands, and in which source."""
    return f"{source}:{entry_id}"


def entry_named_by(identifier: str) -> str | None:
    """Return the entry id in an id or at the end of a derived one, if Redis could have given it."""
    named = _DERIVED.fullmatch(identifier)
    return named[1] if named and is_entry_id(named[1]) else None


def order_id_of(source: str, sent_id: str | None, entry_id: str) -> str | None:
    """Return the order's id, derived from where it stands if none was sent; None if what was sent is none."""
    if sent_id is None:
        return derived_order_id(source, entry_id)
    return sent_id if ORDER_ID.fullmatch(sent_id) else None


class FieldNames(Struct, frozen=True):
    """What the fields of an entry are called, where producers name an order in `order_id`.

    `known` are all that mean something, `keys` the same by their bytes. An entry with none of `business` is
    no order; `carriers` hold a payload.
    """

    order_id: str
    known: frozenset[str]
    keys: Mapping[bytes, str]
    business: frozenset[str]
    carriers: frozenset[bytes]

    def identity(self, fields: Container[str]) -> str:
        """Return which of an entry's fields names its order."""
        # A replayed entry names the order it stands for, whichever field producers use.
        return "order_id" if REPLAY_OF in fields else self.order_id


def field_names(order_id_field: str) -> FieldNames:
    """Return the names where producers name an order in this field: then it carries no payload."""
    known = ORDER_FIELDS | {order_id_field} | _OF_THE_ENTRY
    return FieldNames(
        order_id=order_id_field,
        known=known,
        keys={name.encode(): name for name in known},
        business=known - {"type"} - _OF_THE_ENTRY,
        carriers=frozenset(name.encode() for name in PAYLOAD_FIELDS - {order_id_field}),
    )
