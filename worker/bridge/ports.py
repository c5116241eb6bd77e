"""What a bridge needs of a channel. All of it raises Outage when Redis is away."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from worker.domain.channels import Batch, Fence, Heard


class Hearing(Protocol):
    """A subscription."""

    @property
    def server(self) -> str:
        """What no other server is known by, "" where it does not say."""

    @property
    def heard_at(self) -> float:
        """When the server last said anything, on the monotonic clock."""

    def is_old(self) -> bool:
        """Whether its connection has come of age: another is to take its place."""

    def read(self, wait_s: float) -> Sequence[Heard]:
        """Return what has come, waiting for the first only. Raises Outage once all that came was returned."""

    def finish(self) -> Sequence[Heard]:
        """Unsubscribe, and return all that was published before."""


class Source(Protocol):
    """A channel, and the stream that what is published on it is added to."""

    def subscribed(self) -> AbstractContextManager[Hearing]:
        """Hear the channel."""

    def fence(self, server: str) -> Fence:
        """Have the channel be heard at this server alone: what was heard behind another fence is refused.

        Where it is heard there already, nothing changes. No fence where it is not known which server it is.
        """

    def set_milestone(self, token: str) -> int:
        """Begin a stretch of a name for every bridge of this channel.

        Return how many subscriptions heard it.
        """

    def add(self, batch: Batch) -> int | None:
        """Add what was not added yet, repeatable, and return how many those were.

        None where nothing is added, since the channel is heard behind another fence by now.
        """
