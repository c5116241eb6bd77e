"""Runs rows of the list through their stages, one after another, and writes the page after each."""

import argparse
import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tests.matrix.cells import Row, counted, keep, kept, listed
from tests.matrix.page import PAGE, page

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / ".local" / "matrix"
# Chosen by a row alone: what the caller has set for other runs is no matter of these.
CHOSEN = ("SERVERS", "LOCAL_REDIS", "LOCAL_POSTGRES", "WAY", "POOLER", "RIGHTS", "REDIS_URL", "DATABASE_URL")


def main() -> int:
    """Run what is asked for; 1 where something has failed, or nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument(
        "--row", action="append", default=[], help="the name of a row, or a part of names; none: all rows"
    )
    parser.add_argument("--stage", action="append", default=[], help="a stage; none: all that a row names")
    parser.add_argument("--jobs", default="2", help="processes that tests of one stage run in")
    parser.add_argument(
        "--report",
        type=Path,
        help="run nothing: take the stages of one row from a report (--junit-xml) of the whole suite",
    )
    parser.add_argument("--revision", default="", help="of which revision the report is; else of this one")
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    asked = parser.parse_args()
    names = {row.name for row in listed().row}
    rows = [
        row for row in listed().row if not asked.row or any(_is_meant(row, each, names) for each in asked.row)
    ]
    if asked.report is not None:
        if len(rows) != 1:
            parser.error("--report is of one row: name it by --row")
        codes = [_from_report(rows[0], asked.stage or rows[0].stages, asked.report, asked.revision)]
    else:
        codes = [] if asked.page else [_through(row, asked.stage or row.stages, asked.jobs) for row in rows]
    _write_page()
    return int(any(codes) or not (codes or asked.page))


def _is_meant(row: Row, name: str, names: Collection[str]) -> bool:
    """Whether a row is of this name, or has it as a part where that is the name of none."""
    return row.name == name if name in names else name in row.name


def _from_report(row: Row, stages: Sequence[str], report: Path, revision: str) -> int:
    """Keep what a run of the whole suite says of a row's stages; it had set what the row has set."""
    servers, why = _servers(_environment(row))
    if why:
        _say(f"=== {row.name}: {why}")
        return 1
    kept_of = [_keep(row, stage, report, servers, revision) for stage in stages if stage in row.stages]
    return max(kept_of, default=1)


def _environment(row: Row) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in CHOSEN} | dict(row.environment)


def _through(row: Row, stages: Sequence[str], jobs: str) -> int:
    environment = _environment(row)
    missing = [name for name in row.needs if shutil.which(name) is None]
    servers, why = _servers(environment)
    if missing or why:
        _say(f"=== {row.name}: left out, {why or f'no {missing[0]} is on PATH'}")
        return 0
    code = 0
    for stage in stages:
        if stage in row.stages:
            _say(f"=== {row.name}: {stage}, {servers}")
            code |= _run(row, stage, jobs, environment, servers)
    return code


def _servers(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return which servers the tests of a row use, and why they can't be had."""
    asking = [sys.executable, "-m", "tests.origins"]
    told = subprocess.run(
        asking, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    lines = told.stdout.splitlines()
    if told.returncode or not lines or ": none:" in told.stdout:
        return "", (told.stderr or told.stdout or "no word").strip().splitlines()[-1]
    # Without where they come from, which is another place on each machine.
    shared, *others = (part.partition(" (")[0] for part in lines[0].partition(": ")[2].split(", "))
    for line in lines:
        if line.startswith("workers find Redis by"):
            shared = line.partition(": ")[2].partition(" (")[0]
        if line.startswith("workers find PostgreSQL behind"):
            others.append(line.partition(": ")[2].partition(" (")[0])
    return ", ".join([shared, *others]), ""


def _run(row: Row, stage: str, jobs: str, environment: Mapping[str, str], servers: str) -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{row.name} {stage}.xml".replace(" ", "-").replace(",", "")
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        jobs,
        "--dist",
        "loadfile",
        f"--junit-xml={report}",
    ]
    began = time.monotonic()
    with report.with_suffix(".log").open("w") as log:
        code = subprocess.run(
            [*command, *listed().stages[stage]], cwd=ROOT, env=dict(environment), stdout=log, check=False
        ).returncode
    _say(f"    {(time.monotonic() - began) / 60:.1f} min, exit code {code}: {report.with_suffix('.log')}")
    if not report.exists():
        return 1
    return int(_keep(row, stage, report, servers) or code != 0)


def _keep(row: Row, stage: str, report: Path, servers: str, revision: str = "") -> int:
    """Keep what a report says of a stage, and write the page; 1 where a test has failed or none was run."""
    day = dt.datetime.fromtimestamp(report.stat().st_mtime, dt.UTC).strftime("%-d %B %Y")
    run = counted(report, listed().stages[stage], servers=servers, revision=revision or _revision(), day=day)
    if run.passed or run.failed or run.skipped or run.expected:
        keep({**(runs := kept()), row.name: {**runs.get(row.name, {}), stage: run}})
        _write_page()
    return int(run.failed or not run.passed)


def _revision() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _write_page() -> None:
    PAGE.write_text(page(listed(), kept()), encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
