"""The page of what has been run: a table of rows and stages with their counts, and what has failed."""

from collections.abc import Iterator
from pathlib import Path

from tests.matrix.cells import Listed, Row, Run, Runs

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"
NOT_RUN, NOT_MEANT = "not run", "-"

HEAD = """# What the suites were run over

This page is made from the reports of the runs. `make matrix` runs all that a machine can, row by row, and
writes it; `make matrix ROWS=TLS STAGES=contract` runs a part, and the other cells stay as they are. A cell
has the number of tests that passed, and of those that were skipped, were expected to fail, or failed, where
there were any. The [list](../tests/matrix/list.toml) says what a run of each row finds set, and which tests
make a stage. "{not_run}": no machine has run it yet; "{not_meant}": the list does not ask for it. Minutes
are those of all tests one by one (before 30 November 2026, evening: of two beside each other). By the ways of
the lower rows every worker under test enters, and the tests look on by a port of their own.

"""


def page(listed: Listed, runs: Runs) -> str:
    """Return the page."""
    head = HEAD.format(not_run=NOT_RUN, not_meant=NOT_MEANT)
    columns = ["row", "servers", *listed.stages, "minutes", "revision, day"]
    lines = [
        columns,
        ["---"] * len(columns),
        *(_line(row, listed, runs.get(row.name, {})) for row in listed.row),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    failures = list(_failures(listed, runs))
    said = ["## What failed", "", *failures] if failures else ["Nothing failed."]
    return head + table + "\n\n" + "\n".join(said) + "\n"


def _line(row: Row, listed: Listed, runs: dict[str, Run]) -> list[str]:
    told = [runs[stage] for stage in listed.stages if stage in runs]
    cells = [
        _cell(runs[stage]) if stage in runs else NOT_RUN if stage in row.stages else NOT_MEANT
        for stage in listed.stages
    ]
    minutes = f"{sum(each.seconds for each in told) / 60:.0f}" if told else NOT_MEANT
    return [
        row.name,
        _each_once(each.servers for each in told),
        *cells,
        minutes,
        _each_once(f"{each.revision}, {each.day}" for each in told),
    ]


def _cell(run: Run) -> str:
    parts = [f"{run.passed:,}"]
    parts += [f"{run.skipped:,} skipped"] if run.skipped else []
    parts += [f"{run.expected:,} expected to fail"] if run.expected else []
    parts += [f"**{run.failed:,} failed**"] if run.failed else []
    return ", ".join(parts)


def _each_once(texts: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(texts)) or NOT_MEANT


def _failures(listed: Listed, runs: Runs) -> Iterator[str]:
    for row in listed.row:
        for stage, run in runs.get(row.name, {}).items():
            yield from (f"- {row.name}, {stage}: `{each}`" for each in run.failures)
