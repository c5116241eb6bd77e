"""What an audit knows of one order, and what it can find wrong with it."""

from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

Invariant: TypeAlias = Literal["I1", "I2", "I3", "I4", "I5"]
Remedy: TypeAlias = Literal["publish", "bury", "mark", "republish", "rebury", "readopt"]


class Fate(Struct, frozen=True):
    """How an entry stands on the orders stream, at one instant.

    `waiting` is to be delivered, `noted` was trimmed while it was pending and is still to be asked about, `marked` is
    settled; of an entry that is `old` nobody knows, since marks of its age have been dropped.
    """

    pending: bool = False
    waiting: bool = False
    noted: bool = False
    marked: bool = False
    old: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether somebody works on it or will."""
        return self.pending or self.waiting or self.noted

    @property
    def settled(self) -> bool | None:
        """Whether it was settled; None where that can't be known any more."""
        return True if self.marked else None if self.old else False


class PublishedResult(Struct, frozen=True):
    """What the results stream holds of one order: how often, first where, and the digest of the first."""

    result_id: str
    digest: bytes
    times: int


class BuriedEntry(Struct, frozen=True):
    """What the dead letters hold of one entry: how often, and first where."""

    letter_id: str
    times: int


class Finding(Struct, frozen=True):
    """One invariant that one order or entry breaks, in words; `remedy` is what a repair does about it, if anything."""

    invariant: Invariant
    entry_id: str | None
    order_id: str | None
    what: str
    remedy: Remedy | None = None

    @property
    def again(self) -> bool:
        """Whether its remedy gives out once more what was given out before."""
        return self.remedy in {"republish", "rebury"}

    def can_be_mended(self, *, republish: bool) -> bool:
        """Whether a repair does anything about it; what was given out before, only where that is asked for."""
        return self.remedy is not None and (republish or not self.again)


class Owner(Struct, frozen=True):
    """A row as repairs page through them: the entry that owns it, in the order of recording."""

    recorded_at: datetime
    entry_id: str


class Repaired(Struct):
    """What a repair did, and what it left to people."""

    looked_at: int = 0
    published: int = 0
    buried: int = 0
    marked: int = 0
    made_pending: int = 0
    left_alone: int = 0
