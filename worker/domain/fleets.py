"""Whose entries and rows are meant: an entry id is unique in one stream of one server, and nowhere else."""

import re

from msgspec import Struct

LONGEST_SOURCE = 80
# A stream that was not worked on for so long is not worked on any more: several times as often as replicas say so.
FRESH_S = 60
_NOT_IN_SOURCE = re.compile(r"[^A-Za-z0-9._:/-]+")


class Fleet(Struct, frozen=True):
    """The replicas that work on one orders stream: its `source` owns their rows, and `results` is where they publish."""

    source: str
    results: str


def source_of(stream: str) -> str:
    """Return the source that an orders stream is where none is set: its name, without what no order id can hold."""
    return _NOT_IN_SOURCE.sub("", stream)


class Stranger(Struct, frozen=True):
    """Another source whose row an order has met, and whether that source publishes on the same results stream as ours."""

    source: str
    publishes_here: bool
