"""What a round of retention has done to the streams."""

from msgspec import Struct


class Retained(Struct, frozen=True):
    """How much was let go; `more` where a call stopped because it had done as much as it may at once."""

    orders: int = 0
    marks: int = 0
    results: int = 0
    more: bool = False


class LettersGone(Struct, frozen=True):
    """How many closed dead letters were let go; `more` where others may be due at once."""

    letters: int = 0
    more: bool = False


class Lost(Struct, frozen=True):
    """Entries that were trimmed before the group read them: those found now, and all there ever were."""

    new: int
    total: int
