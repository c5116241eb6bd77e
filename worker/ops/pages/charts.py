"""Draws what was over the last hour: lines in a box of a thousand by a hundred, which the page stretches."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from worker.ops.history import STEP_S, History, Moment
from worker.status.wording import span

WIDTH, HEIGHT = 1000.0, 100.0


class Line(Struct, frozen=True):
    """One line: its name, what it says now in words, and paths, one for each stretch that is known."""

    name: str
    now: str
    highest: str
    paths: tuple[str, ...]


class Chart(Struct, frozen=True):
    """Lines that share a scale, and the sentence that says the same to whoever can't see them."""

    title: str
    lines: tuple[Line, ...]

    @property
    def sentence(self) -> str:
        """What is drawn, in words."""
        said = "; ".join(f"{each.name}: now {each.now}, at most {each.highest}" for each in self.lines)
        return f"{self.title} of the last hour. {said}."


def charts(history: History) -> tuple[Chart, ...]:
    """Return throughput, latency and lag."""
    moments = history.moments()
    return (
        _chart("Throughput", moments, _per_second, {"results": _rate}),
        _chart("Latency", moments, _milliseconds, {"median": _median, "95 of 100": _p95}),
        _chart("Lag", moments, _entries, {"waiting": _lag}),
    )


def _chart(
    title: str,
    moments: Sequence[Moment | None],
    said: Callable[[float], str],
    read: dict[str, Callable[[Moment], float | None]],
) -> Chart:
    rows = {
        name: [None if moment is None else one(moment) for moment in moments] for name, one in read.items()
    }
    known = [value for row in rows.values() for value in row if value is not None]
    top = max(known, default=0.0) or 1.0
    return Chart(title, tuple(_line(name, row, top, said) for name, row in rows.items()))


def _line(name: str, row: Sequence[float | None], top: float, said: Callable[[float], str]) -> Line:
    known = [value for value in row if value is not None]
    # The present half minute has only begun, the one before is whole.
    now = next((value for value in (row[-1], row[-2]) if value is not None), None)
    return Line(
        name=name,
        now="not known" if now is None else said(now),
        highest=said(max(known)) if known else "not known",
        paths=tuple(_paths(row, top)),
    )


def _paths(row: Sequence[float | None], top: float) -> list[str]:
    """Return a path for each stretch without a gap; a stretch of one point is drawn as a short line."""
    step = WIDTH / (len(row) - 1)
    paths, points = [], list[str]()
    for number, value in enumerate([*row, None]):
        if value is not None:
            points.append(f"{number * step:.1f},{HEIGHT - value / top * HEIGHT:.1f}")
        elif points:
            alone = f" h{step / 2:.1f}" if len(points) == 1 else ""
            paths.append(f"M{' L'.join(points)}{alone}")
            points = []
    return paths


def _rate(moment: Moment) -> float | None:
    return None if moment.published is None else moment.published / STEP_S


def _median(moment: Moment) -> float | None:
    return moment.median_ms


def _p95(moment: Moment) -> float | None:
    return moment.p95_ms


def _lag(moment: Moment) -> float | None:
    return moment.lag


def _per_second(rate: float) -> str:
    return f"{rate:,.1f} a second" if rate < 10 else f"{rate:,.0f} a second"  # noqa: PLR2004  one digit more


def _milliseconds(taken_ms: float) -> str:
    return f"{taken_ms:,.0f} ms" if taken_ms < 10_000 else span(taken_ms / 1000)  # noqa: PLR2004  ten seconds


def _entries(count: float) -> str:
    return f"{count:,.0f}"
