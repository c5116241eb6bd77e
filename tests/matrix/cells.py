"""What there is to run, and what has come of it: the list, the counts of runs, and where they are kept."""

import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.skips import EXPECTED_TO_FAIL

FOLDER = Path(__file__).parent
LIST = FOLDER / "list.toml"
RUNS = FOLDER / "runs.json"


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """A way to connect, or a pair of versions: what a run finds set, and the stages that it goes through."""

    name: str
    environment: Mapping[str, str]
    stages: Sequence[str]
    needs: Sequence[str] = ()


class Listed(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is to be run: what the stages are called, and their tests; the rows."""

    stages: Mapping[str, Sequence[str]]
    row: Sequence[Row]


class Run(Struct, frozen=True):
    """What one stage of one row has come to, on which servers, when, and of which revision."""

    passed: int
    failed: int
    skipped: int
    expected: int
    seconds: int
    servers: str
    revision: str
    day: str
    failures: Sequence[str] = ()


Runs = dict[str, dict[str, Run]]


def listed() -> Listed:
    """Return what is to be run. Raises ValueError for a row that names a stage that there is not."""
    found = msgspec.convert(tomllib.loads(LIST.read_text(encoding="utf-8")), Listed)
    for row in found.row:
        unknown = set(row.stages) - set(found.stages)
        if unknown:
            raise ValueError(f"{row.name}: no stage is called {', '.join(unknown)}")
    return found


def kept() -> Runs:
    """Return what runs have come to, by row and stage."""
    return msgspec.json.decode(RUNS.read_bytes(), type=Runs) if RUNS.exists() else {}


def keep(runs: Runs) -> None:
    """Keep what runs have come to."""
    RUNS.write_bytes(msgspec.json.format(msgspec.json.encode(runs), indent=1) + b"\n")


def counted(junit: Path, tests: Sequence[str], *, servers: str, revision: str, day: str) -> Run:
    """Return what a report of pytest says of tests below these paths, and how long they took one by one.

    Raises OSError and ET.ParseError where there is no report.
    """
    passed = failed = skipped = expected = 0
    seconds, failures = 0.0, list[str]()
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314  written by pytest a moment ago
        where = case.get("classname", "").replace(".", "/")
        if not any(f"{where}/".startswith(f"{each.removesuffix('.py')}/") for each in tests):
            continue
        seconds += float(case.get("time", "0"))
        left_out = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            failures.append(f"{where}::{case.get('name')}")
        elif left_out is None:
            passed += 1
        elif left_out.get("type") == EXPECTED_TO_FAIL:
            expected += 1
        else:
            skipped += 1
    unique = tuple(dict.fromkeys(failures))
    return Run(passed, failed, skipped, expected, round(seconds), servers, revision, day, unique)
