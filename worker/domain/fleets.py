"""Whose entries and rows are meant: an entry id is unique in one stream of one server, and nowhere else."""

import re

from msgspec import Struct

# What an order id may hold, and so a source, as a class of characters.
ORDER_ID_LETTERS = "A-Za-z0-9._:/-"
LONGEST_SOURCE = 80
# A stream that was not worked on for so long is not worked on any more: several times as often as replicas
# say so.
FRESH_S = 60
_NOT_IN_SOURCE = re.compile(f"[^{ORDER_ID_LETTERS}]+")


class Fleet(Struct, frozen=True):
    """The replicas of one orders stream: its `source` owns their rows, `results` is where they publish."""

    source: str
    results: str


def source_of(stream: str) -> str:
    """Return the source an orders stream is where none is set: its name without what no order id can hold."""
    return _NOT_IN_SOURCE.sub("", stream)


def is_source(text: str) -> bool:
    """Whether a text can be the name of a source."""
    return 1 <= len(text) <= LONGEST_SOURCE and source_of(text) == text


class ReplicaNote(Struct, frozen=True):
    """What a replica tells of itself to the others: `state` is starting, running, outage or draining."""

    version: str
    state: str
    executor: str
    started_at: str


class Stranger(Struct, frozen=True):
    """Another source whose row an order has met, and whether it publishes on the same results stream."""

    source: str
    publishes_here: bool


class Foreign(Struct, frozen=True):
    """What tells the order in a row of another source, and whether its results stream is named like ours."""

    source: str
    entry_id: str
    order_id: str
    fingerprint: bytes
    same_results: bool
