"""The same figures drawn: a panel for each scenario, bars with the range of rounds, the curve as lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import Standing
from benchmarks.designs import REFERENCE
from benchmarks.scenarios import CURVE, SCENARIOS

COLORS = {"worker": "#4477aa", REFERENCE: "#ccbb44"}
OTHER_COLOR = "#bbbbbb"
WAIT_MARKS = ("o", "s", "D")


def draw(tables: Mapping[str, Sequence[Standing]], path: Path) -> None:
    """Draw what was measured into a file, in the format that its ending names (SVG, PNG)."""
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and needed for the picture alone

    mpl.use("agg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt  # noqa: PLC0415  as above

    tallest = max(len(standings) for standings in tables.values())
    figure, axes = plt.subplots(
        1, len(tables), figsize=(6 * len(tables), 1.5 + 0.35 * max(tallest, 8)), squeeze=False
    )
    for (name, standings), axis in zip(tables.items(), axes[0], strict=True):
        if name == CURVE:
            _draw_curve(axis, standings)
        elif any(standing.latencies_ms for standing in standings):
            _draw_waits(axis, standings)
        else:
            _draw_bars(axis, standings)
        axis.set_title(SCENARIOS[name].title, fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


def _draw_bars(axis: Any, standings: Sequence[Standing]) -> None:  # noqa: ANN401  an Axes
    names = [standing.case.name for standing in standings]
    rates = [standing.rate for standing in standings]
    medians = [rate.median for rate in rates]
    ranges = [[rate.median - rate.least for rate in rates], [rate.most - rate.median for rate in rates]]
    bars = axis.barh(names, medians, xerr=ranges, color=list(map(_color, names)), ecolor="#333333", capsize=2)
    axis.bar_label(bars, [f"{median:,.0f}" for median in medians], padding=4)
    axis.margins(x=0.2)
    axis.invert_yaxis()
    axis.set_xlabel("orders a second: median of the rounds, and their range")


def _draw_waits(axis: Any, standings: Sequence[Standing]) -> None:  # noqa: ANN401  an Axes
    names = [standing.case.name for standing in standings]
    columns = zip(*(standing.latencies_ms for standing in standings), strict=True)
    for column, mark, label in zip(columns, WAIT_MARKS, ("p50", "p99", "p99.9"), strict=True):
        # A logarithmic axis has no place for what was too short to be measured.
        axis.scatter(
            [max(wait, 0.5) for wait in column], names, marker=mark, label=label, c=list(map(_color, names))
        )
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.legend()
    axis.set_xlabel("ms from entry to result")


def _draw_curve(axis: Any, standings: Sequence[Standing]) -> None:  # noqa: ANN401  an Axes
    lines: dict[str, list[tuple[int, Standing]]] = {}
    for standing in standings:
        name, _, batch = standing.case.name.rpartition(" batch ")
        lines.setdefault(name, []).append((int(batch), standing))
    for name, points in lines.items():
        sizes = [batch for batch, _ in points]
        rates = [standing.rate for _, standing in points]
        axis.plot(sizes, [rate.median for rate in rates], marker="o", color=_color(name), label=name)
        least, most = [rate.least for rate in rates], [rate.most for rate in rates]
        axis.fill_between(sizes, least, most, color=_color(name), alpha=0.2)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_ylim(bottom=0)
    axis.legend()
    axis.set_xlabel("entries in a batch")
    axis.set_ylabel("orders a second")


def _color(name: str) -> str:
    return next((color for start, color in COLORS.items() if name.startswith(start)), OTHER_COLOR)
