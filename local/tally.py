"""The figures of one run of the showcase, and whether they add up."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Counts:
    """What replicas have done with orders since they started."""

    received: int = 0
    filled: int = 0
    rejected: int = 0
    error: int = 0
    duplicate: int = 0
    dead: int = 0
    answered_again: int = 0
    handed_back: int = 0

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Read the counters of one replica's /status."""
        stats = status["stats"]
        return cls(*(int(stats.get(f"orders_{field.name}", 0)) for field in fields(cls)))

    def __add__(self, other: Self) -> Self:
        """Add up two replicas."""
        return type(self)(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    @property
    def executed(self) -> int:
        """Orders that were answered for the first time, each with one result."""
        return self.filled + self.rejected + self.error

    @property
    def settled(self) -> int:
        """Orders that are done with."""
        return self.executed + self.duplicate + self.dead


@dataclass(frozen=True, slots=True)
class Queue:
    """What all replicas share: the streams, as the background check of one of them last saw them."""

    lag: int | None
    pending: int | None
    results: int | None

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Read the Redis part of one replica's /status; a figure it does not know is None."""
        streams = status["redis"]
        return cls(streams.get("lag"), streams.get("pending"), streams.get("results"))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, as far as it is known: Redis before 7.0 knows no lag."""
        return not self.lag and self.pending == 0


@dataclass(frozen=True, slots=True)
class Tally:
    """A run: how many orders went in, what each replica did with them, what came out."""

    submitted: int
    replicas: tuple[Counts, ...]
    queue: Queue
    results_before: int
    seconds: float = 0.0

    @property
    def total(self) -> Counts:
        """All replicas together."""
        return sum(self.replicas, start=Counts())

    @property
    def results(self) -> int:
        """The results that this run has added to the stream."""
        return (self.queue.results or 0) - self.results_before

    @property
    def left_by_earlier_run(self) -> int:
        """Orders settled beyond those submitted now."""
        return max(0, self.total.settled - self.submitted)

    @property
    def orders_per_second(self) -> float:
        """Settled orders over the time from the start of the submission to the last settlement."""
        return self.total.settled / self.seconds if self.seconds else 0.0

    def faults(self) -> list[str]:
        """Return one sentence for each thing that does not add up; none when all is well."""
        total = self.total
        once = total.received - total.answered_again - total.handed_back
        faults = []
        if once != total.settled:
            faults.append(
                f"Received {once}, but filled {total.filled} + rejected {total.rejected}"
                f" + error {total.error} + duplicate {total.duplicate} + dead {total.dead} = {total.settled}."
            )
        if total.settled < self.submitted:
            faults.append(
                f"Of {self.submitted} submitted orders these replicas settled {total.settled};"
                " others may be reading with the same group."
            )
        # A redelivered order is answered again: with its result where the stream lacks it, else without.
        if not total.executed <= self.results <= total.executed + total.answered_again:
            faults.append(
                f"{self.results} results were added to the stream, {total.executed} orders were executed."
            )
        if self.queue.pending != 0:
            faults.append(f"Pending entries: {self.queue.pending}.")
        if self.queue.lag:
            faults.append(f"Undelivered entries: {self.queue.lag}.")
        return faults
