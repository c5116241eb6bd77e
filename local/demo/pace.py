"""How long the story takes: two minutes where it can, and no longer than it must on a slow machine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """When chapters begin, by the clock of the story.

    The time until then is for reading. A machine that is slow begins a chapter when the one before has ended,
    and leaves out what is only to be looked at.
    """

    flow_s: float = 6.0
    outage_s: float = 5.0
    kill_at_s: float = 20.0
    outage_at_s: float = 38.0
    poison_at_s: float = 56.0
    again_at_s: float = 84.0
    letters_at_s: float = 96.0
    proof_at_s: float = 112.0
    slack_s: float = 5.0

    def time_left(self, at_s: float, now_s: float) -> float:
        """Return how long a chapter that begins at some time has to wait."""
        return max(0.0, at_s - now_s)

    def has_time(self, at_s: float, now_s: float) -> bool:
        """Tell whether there is time for a look before a chapter that begins at some time."""
        return now_s < at_s + self.slack_s


QUICK = Pace(
    flow_s=1.0,
    outage_s=2.0,
    kill_at_s=0.0,
    outage_at_s=0.0,
    poison_at_s=0.0,
    again_at_s=0.0,
    letters_at_s=0.0,
    proof_at_s=0.0,
    slack_s=float("inf"),
)
