"""Spells what is passed in a call in a few words."""

from collections.abc import Callable
from typing import Any

from worker.domain.deliveries import ClaimedPage, Delivery, Settlement
from worker.domain.evidence import Owner
from worker.domain.orders import Execution, Order, OrderRecord

LONGEST = 300


def _settlement(it: Settlement) -> str:
    reason = f" {it.fields[3]!s}" if it.action == "bury" else ""
    return f"{it.action}{reason} {it.entry_id}"


# A delivery that is not charged ends in a minus.
_SPELLED: dict[type, Callable[[Any], str]] = {
    Delivery: lambda it: f"{it.entry_id}*{it.count}{'' if it.charged else '-'}",
    ClaimedPage: lambda it: f"{shown(list(it.deliveries))} next {it.cursor}",
    OrderRecord: lambda it: f"{it.order_id}={it.status} of {it.entry_id}",
    Settlement: _settlement,
    Order: lambda it: f"({it.order_id})",
    Execution: lambda it: str(it.status),
    Owner: lambda it: it.entry_id or "the beginning",
    dict: lambda it: f"{{{', '.join(f'{key}: {shown(each)}' for key, each in it.items())}}}",
}


def shown(value: object) -> str:
    """Return a value in one line, orders and entries by their names."""
    if isinstance(value, tuple | list | set | frozenset):
        return f"({', '.join(map(shown, value))})"
    spelled = _SPELLED.get(type(value), str)(value)
    return spelled if len(spelled) < LONGEST else f"{spelled[:LONGEST]}..."
