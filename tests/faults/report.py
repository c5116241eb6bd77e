"""One table and one picture of what the fault tests have found.

Run as `python -m tests.faults.report LINES [--junit XML] [--json FILE] [--image FILE]`: LINES is the file
that CHAOS_REPORT named, XML what pytest's --junit-xml wrote. Figures go into the table as the stages recorded
them; what a stage did not record is a dash, and how many of its tests passed stands beside.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table

# Under which names the stages record what goes into a column; the first that is there counts.
COLUMNS = {
    "faults": ("faults", "kills", "cuts"),
    "orders": ("orders", "entries", "rows"),
    "lost": ("lost",),
    "doubled": ("doubled",),
    "missing results": ("missing_results",),
    "p99 recovery s": ("p99_recovery_s", "recovery_s"),
    "worst recovery s": ("worst_recovery_s", "recovery_s"),
}
RECOVERIES = ("p99 recovery s", "worst recovery s")
# Tests of one package that are a stage of their own.
OWN_STAGE = {"tests.faults.storm.test_soak": "soak"}
_STAGE = re.compile(r"tests\.faults\.(?:test_)?(\w+)")


@dataclass
class Stage:
    """What one stage did. A figure that no row of it recorded is None."""

    name: str
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    figures: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(COLUMNS))
    rows: list[dict[str, Any]] = field(default_factory=list)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return what was recorded, in order; nothing where no stage recorded anything."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def summed(lines: Iterable[Mapping[str, Any]], junit: Path | None = None) -> list[Stage]:
    """Return the stages in order of their names: counts added up, the worst of recoveries."""
    stages: dict[str, Stage] = {}
    waits: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        name = spelled(line["stage"])
        stage = stages.setdefault(name, Stage(name))
        stage.rows.append(dict(line))
        for column, figure in _figures(line).items():
            before = stage.figures[column]
            if column in RECOVERIES:
                stage.figures[column] = figure if before is None else max(before, figure)
            else:
                stage.figures[column] = figure + (before or 0)
        if "recovery_s" in line:
            waits[name].append(line["recovery_s"])
    for name, found in waits.items():
        # Each such row is one fault and its recovery.
        stages[name].figures["p99 recovery s"] = sorted(found)[len(found) * 99 // 100]
        if stages[name].figures["faults"] is None:
            stages[name].figures["faults"] = len(found)
    if junit is not None and junit.exists():
        _count_tests(stages, junit)
    return sorted(stages.values(), key=lambda stage: stage.name)


def spelled(stage: str) -> str:
    """Return the name of a stage as people write it."""
    return stage.replace("_", " ")


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    found = {
        column: next((line[name] for name in names if name in line), None)
        for column, names in COLUMNS.items()
    }
    return {column: figure for column, figure in found.items() if isinstance(figure, int | float)}


def _count_tests(stages: dict[str, Stage], junit: Path) -> None:
    suites = ET.parse(junit).getroot()  # noqa: S314  written by our own pytest
    stage_of = {}
    for case in suites.iter("testcase"):
        module = case.get("classname", "")
        found = _STAGE.match(module)
        name = OWN_STAGE.get(module) or spelled(found[1] if found else module)
        stage = stages.setdefault(name, Stage(name))
        stage_of[case.get("name", "")] = stage
        bad = case.find("failure") is not None or case.find("error") is not None
        stage.failed += bad
        stage.passed += not bad and case.find("skipped") is None
        stage.seconds += float(case.get("time", "0"))
    for told in suites.iter("property"):
        # Tests that count what struck them tell it under their own name.
        stage_told = stage_of.get(told.get("name", ""))
        if stage_told is not None and (count := told.get("value", "")).isdecimal():
            stage_told.figures["faults"] = (stage_told.figures["faults"] or 0) + int(count)


def table(stages: Sequence[Stage]) -> Table:
    """Return the table."""
    made = Table("stage", title="what was struck, and what came of it")
    for name in (*COLUMNS, "tests", "minutes"):
        made.add_column(name, justify="right")
    for stage in stages:
        cells = [_cell(stage.figures[column]) for column in COLUMNS]
        ran = stage.passed + stage.failed
        tests = f"{stage.passed} of {ran}" if ran else "-"
        made.add_row(stage.name, *cells, tests, f"{stage.seconds / 60:.1f}" if ran else "-")
    return made


def _cell(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:,.3f}"


def draw(stages: Sequence[Stage], path: Path) -> None:
    """Draw the faults of all stages, and where the kills of the storm landed and how it recovered."""
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and needed for the picture alone

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "chaos", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt  # noqa: PLC0415  as above

    storm = next((row for stage in stages if stage.name == "storm" for row in stage.rows), None)
    struck = [stage for stage in stages if stage.figures["faults"]]
    panels: list[Callable[[Any], None]] = []
    if len(struck) > 1 or storm is None:
        panels.append(lambda axis: _draw_faults(axis, struck))
    if storm is not None:
        panels.append(lambda axis: _draw_steps(axis, storm["kills_by_step"]))
        panels.append(lambda axis: _draw_recovery(axis, storm["recovery_by_kind_s"]))
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 4), squeeze=False)
    for panel, axis in zip(panels, axes[0], strict=True):
        panel(axis)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


def _draw_faults(axis: Any, stages: Sequence[Stage]) -> None:
    names = [stage.name for stage in stages]
    bars = axis.barh(names, [stage.figures["faults"] for stage in stages], color="#4477aa")
    axis.bar_label(bars, [_cell(stage.figures["faults"]) for stage in stages], padding=3)
    axis.set_xscale("log")
    axis.set_xlim(1, 8 * max((stage.figures["faults"] or 1 for stage in stages), default=1))
    axis.invert_yaxis()
    wrong = sum(
        stage.figures[name] or 0 for stage in stages for name in ("lost", "doubled", "missing results")
    )
    axis.set_title(f"faults by stage; lost, doubled, missing: {wrong:,}")


def _draw_steps(axis: Any, kills: Mapping[str, int]) -> None:
    bars = axis.barh(list(kills), list(kills.values()), color="#ee6677")
    axis.bar_label(bars, padding=3)
    axis.margins(x=0.15)
    axis.invert_yaxis()
    axis.set_title("storm: the step at which a kill landed")


def _draw_recovery(axis: Any, recovery: Mapping[str, Sequence[float]]) -> None:
    kinds = [kind for kind in recovery if kind != "all"]
    for index, (name, color) in enumerate((("median", "#228833"), ("p99", "#ccbb44"), ("worst", "#aa3377"))):
        places = [place + 0.27 * (index - 1) for place in range(len(kinds))]
        axis.barh(places, [recovery[kind][index] for kind in kinds], height=0.27, color=color, label=name)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.invert_yaxis()
    axis.margins(x=0.4)
    axis.legend()
    axis.set_title("storm: s from a fault to the next results")


def main(arguments: Sequence[str]) -> int:
    """Print the table and write the files; return 1 where something was lost or doubled, or a test failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.report")
    parser.add_argument("lines", type=Path)
    for name in ("--junit", "--json", "--image"):
        parser.add_argument(name, type=Path)
    wanted = parser.parse_args(arguments)
    stages = summed(read_lines(wanted.lines), wanted.junit)
    if not stages:
        sys.stderr.write(f"{wanted.lines} holds no figures\n")
        return 1
    console = Console()
    # A pipe counts as 80 columns, where headings would be cut.
    console.width = max(console.width, 112)
    console.print(table(stages))
    if wanted.json is not None:
        written = json.dumps([asdict(stage) for stage in stages], indent=1, ensure_ascii=False)
        wanted.json.write_text(f"{written}\n", encoding="utf-8")
    if wanted.image is not None:
        draw(stages, wanted.image)
    wrong = [stage.figures[name] for stage in stages for name in ("lost", "doubled", "missing results")]
    return int(any(wrong) or any(stage.failed for stage in stages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
