"""How a dead letter was closed, and what its state is called."""

from collections.abc import Mapping

from msgspec import Struct

OPEN, REPLAYED, DISCARDED = "open", "replayed", "discarded"


class LetterState(Struct, frozen=True, omit_defaults=True):
    """How a letter was closed: `state` is replayed or discarded; a letter that is open has none.

    `changed` maps the fields that a replay edited to what they were before (None: absent) and what they
    became. `order_id` is the order of the replay where the letter names another one, or none.
    """

    state: str
    by: str
    at: str
    changed: Mapping[str, tuple[str | None, str]] = {}
    fresh: bool = False
    replayed_as: str | None = None
    order_id: str | None = None

    @property
    def how(self) -> str:
        """The same in a few words."""
        what = f"{self.state} as {self.replayed_as}" if self.replayed_as else self.state
        return f"{what} by {self.by} at {self.at}"


def state_of(closed: LetterState | None) -> str:
    """Return the state of a letter: open, replayed or discarded."""
    return OPEN if closed is None else closed.state
