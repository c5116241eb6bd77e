"""The worker without what /metrics tells beside its counts: to see what measuring costs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from worker.__main__ import main
from worker.bootstrap import replica
from worker.consumer import Measures
from worker.domain.deliveries import Outcome


class Unmeasured(Measures):
    """Notes nothing, and asks no clock."""

    def __init__(self, *_: object) -> None:
        super().__init__(lambda: 0.0, lambda: datetime.now(UTC))

    def end_group(self) -> None:
        """Let it go."""
        self.executions.clear()

    def commit(self, seconds: float) -> None:
        """Let it go."""

    def settle(self, outcomes: Sequence[Outcome], kinds: Mapping[str, int], seconds: float) -> None:
        """Let it go."""


if __name__ == "__main__":
    replica.Measures = Unmeasured  # type: ignore[assignment, attr-defined]
    main()
