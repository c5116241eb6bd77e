"""What is known when somebody scrapes, and what one metric makes of it."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from worker.domain.database_state import DatabaseState
from worker.domain.measured import Counted, Figures
from worker.domain.stream_state import StreamState
from worker.ops.health import LastAnswer


class Meant(Struct, frozen=True):
    """Which dangers the settings call meant."""

    eviction: bool = False
    volatile: bool = False


NOTHING_MEANT = Meant()


class Told(Struct, frozen=True):
    """All that is known of one replica, and what both servers told last."""

    version: str
    python: str
    uptime_s: float
    sign_of_life_age_s: float
    counts: Mapping[str, int]
    figures: Figures
    redis: LastAnswer[StreamState]
    database: LastAnswer[DatabaseState]
    meant: Meant


# By the values of its labels, in their order; or one value; None where it is not known: then it is missing.
Value: TypeAlias = float | Counted | Mapping[tuple[str, ...], float] | None
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Fleet: TypeAlias = Literal["", "max", "min"]


class Metric(Struct, frozen=True):
    """One metric: its whole name, what it is, and the question that it answers at three in the morning.

    `fleet`: the whole fleet has one figure, and by which aggregation of what its replicas report.
    """

    name: str
    kind: Kind
    meaning: str
    question: str
    of: Callable[[Told], Value]
    labels: tuple[str, ...] = ()
    fleet: Fleet = ""


def counter(
    name: str, meaning: str, question: str, of: Callable[[Told], Value], labels: tuple[str, ...] = ()
) -> Metric:
    """Return what only grows while a process lives."""
    return Metric(f"execution_{name}_total", "counter", meaning, question, of, labels)


def gauge(
    name: str,
    meaning: str,
    question: str,
    of: Callable[[Told], Value],
    labels: tuple[str, ...] = (),
    fleet: Fleet = "",
) -> Metric:
    """Return what is so much now."""
    return Metric(f"execution_{name}", "gauge", meaning, question, of, labels, fleet)


def histogram(name: str, meaning: str, question: str, of: str) -> Metric:
    """Return how values are spread, by the name that they are measured under."""
    return Metric(
        f"execution_{name}", "histogram", meaning, question, lambda told: told.figures.histograms.get(of)
    )


def counted(name: str, meaning: str, question: str, of: str) -> Metric:
    """Return what the loop counts, by the name that it is counted under."""
    return counter(name, meaning, question, lambda told: told.counts[of])
