"""What comes over a Pub/Sub channel, and how it is known."""

from typing import NamedTuple

from msgspec import Struct


class Heard(NamedTuple):
    """A message, or a milestone between messages."""

    is_milestone: bool
    data: bytes


class Batch(Struct, frozen=True):
    """Messages of one stretch that follow each other; `first` is the number of the first, from 1 on."""

    stretch: str
    first: int
    messages: list[bytes]
