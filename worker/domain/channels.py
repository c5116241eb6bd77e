"""What comes over a Pub/Sub channel, and how it is known."""

from typing import NamedTuple

from msgspec import Struct


class Heard(NamedTuple):
    """A message, or a milestone between messages."""

    is_milestone: bool
    data: bytes


class Fence(NamedTuple):
    """What keeps a channel at one server: its name, which is another one after each move, or none at all.

    Whoever joins behind it sets a milestone after `wait_s`: all that was added before the move is heard by
    then.
    """

    name: str
    wait_s: float


class Batch(Struct, frozen=True):
    """Messages of one stretch that follow each other; `first` is the number of the first, from 1 on.

    All were heard behind the same fence.
    """

    stretch: str
    first: int
    messages: list[bytes]
    fence: str = ""
