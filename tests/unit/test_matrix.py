"""The table of what the suites were run over: made from reports, in the shape of the list."""

import re
from pathlib import Path

import pytest

from tests.matrix.cells import Listed, Row, Run, counted, kept, listed
from tests.matrix.page import PAGE, page
from tests.servers import KINDS, WAYS
from tests.skips import EXPECTED_TO_FAIL, SKIPPED

ROOT = Path(__file__).parents[2]
REPORT = f"""<?xml version="1.0"?><testsuites><testsuite time="61.5">
<testcase classname="tests.contract.test_a" name="one" time="61.5"/>
<testcase classname="tests.contractual.test_a" name="one" time="7"/>
<testcase classname="tests.faults.test_poison.TestAll" name="one" time="3"/>
<testcase classname="tests.faults.test_poisons" name="one" time="3"/>
<testcase classname="tests.contract.test_a" name="two[x]"><failure message="no"/></testcase>
<testcase classname="tests.contract.test_a" name="two[x]"><error message="nor this"/></testcase>
<testcase classname="tests.contract.test_a" name="three"><skipped type="{SKIPPED}"/></testcase>
<testcase classname="tests.contract.test_a" name="four"><skipped type="{EXPECTED_TO_FAIL}"/></testcase>
</testsuite></testsuites>"""


def run(passed: int, *, failed: int = 0, skipped: int = 0) -> Run:
    return Run(passed, failed, skipped, 0, 60, "Redis 1, PostgreSQL 2", "abc", "1 May 2030")


def cells_of(line: str) -> list[str]:
    return [each.strip() for each in line.strip("|").split("|")]


def test_report_is_counted_by_what_became_of_each_test(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text(REPORT)

    found = counted(file, ["tests/contract"], servers="here", revision="abc", day="today")
    of_one_file = counted(
        file, ["tests/faults/test_poison.py", "tests/other"], servers="here", revision="abc", day="today"
    )

    assert (found.passed, found.failed, found.skipped, found.expected, found.seconds) == (1, 2, 1, 1, 62)
    assert found.failures == ("tests/contract/test_a::two[x]",)
    assert (of_one_file.passed, of_one_file.failed, of_one_file.seconds) == (1, 0, 3)


def test_cell_tells_what_was_run_what_was_not_and_what_nobody_asks_for() -> None:
    rows = [Row("one", {}, ["contract", "integration"]), Row("two", {}, ["integration"])]
    stages = {"contract": ["a"], "integration": ["b"]}

    said = page(Listed(stages, rows), {"one": {"contract": run(1200, skipped=3, failed=1)}})

    lines = [cells_of(line) for line in said.splitlines() if line.startswith("|")]
    assert lines[0] == ["row", "servers", "contract", "integration", "minutes", "revision, day"]
    assert lines[2][2:] == ["1,200, 3 skipped, **1 failed**", "not run", "1", "abc, 1 May 2030"]
    assert lines[3] == ["two", "-", "-", "not run", "-", "-"]


def test_page_is_what_was_kept_of_the_runs_in_the_shape_of_the_list() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(listed(), kept()), "run: python -m tests.matrix --page"


def test_each_run_that_was_kept_is_of_a_row_and_a_stage_of_the_list() -> None:
    asked = {(row.name, stage) for row in listed().row for stage in row.stages}

    assert {(row, stage) for row, stages in kept().items() for stage in stages} <= asked


def test_list_has_every_way_and_only_tests_and_servers_that_there_are() -> None:
    everything = listed()
    environments = [row.environment for row in everything.row]

    assert {each["WAY"] for each in environments if "WAY" in each} == set(WAYS)
    assert {each["SERVERS"] for each in environments} <= set(KINDS)
    for tests in everything.stages.values():
        assert all((ROOT / each).exists() for each in tests)
    assert len({row.name for row in everything.row}) == len(everything.row)


@pytest.mark.parametrize("of_redis", ["Redis 6.2", "Redis 7.0", "Redis 8", "Valkey 9"])
@pytest.mark.parametrize("of_postgres", ["PostgreSQL 15", "PostgreSQL 17", "PostgreSQL 18"])
def test_each_version_of_the_one_meets_each_of_the_other(of_redis: str, of_postgres: str) -> None:
    assert f"{of_redis}, {of_postgres}" in {row.name for row in listed().row}


def test_servers_that_were_run_are_those_that_the_row_is_named_for() -> None:
    for row, stages in kept().items():
        for part in re.findall(r"(?:Redis|Valkey|PostgreSQL) \d+", row):
            assert all(part in each.servers for each in stages.values()), row
