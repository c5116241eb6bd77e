"""What the fields of an order are called, and which order ids are allowed."""

import re
from collections.abc import Container

# Kept as sent; no decision depends on them.
LABELS = ("signal_id", "reason", "timestamp", "strategy_id", "bot_id", "client_id")
# What is executed.
DECISIVE = ("symbol", "side", "quantity", "price", "stop_loss_pct")
ORDER_FIELDS = frozenset({"type", "order_id", *DECISIVE, *LABELS})

# Either name carries the other wire form: one JSON object with the fields of an order.
PAYLOAD_FIELDS = frozenset({"payload", "data"})
REPLAY_OF = "replay_of"
RESERVED_FIELDS = frozenset({"order_id", REPLAY_OF})

ORDER_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}", re.ASCII)
NOT_IN_ORDER_ID = re.compile(r"[^A-Za-z0-9._:/-]", re.ASCII)


def derived_order_id(stream: str, entry_id: str) -> str:
    """Return the identity of an order that was sent without one: where it stands on which stream."""
    return f"{NOT_IN_ORDER_ID.sub('', stream)}:{entry_id}"


def identity_field(fields: Container[str], order_id_field: str) -> str:
    """Return which of an entry's fields names its order."""
    # A replayed entry names the order it stands for, whichever field producers use.
    return "order_id" if REPLAY_OF in fields else order_id_field


def carriers(order_id_field: str) -> frozenset[bytes]:
    """Return which fields carry a payload: none that names the order."""
    return frozenset(name.encode() for name in PAYLOAD_FIELDS - {order_id_field})
