"""The report adds up what the stages recorded, and hides nothing that went wrong."""

import json
from pathlib import Path

import pytest

from tests.faults import report, reporting


def test_recorded_rows_of_a_stage_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_REPORT", str(tmp_path / "lines"))
    for lost in (0, 2):
        reporting.record(
            "crash_points", f"row {lost}", faults=10, orders=100, lost=lost, worst_recovery_s=lost
        )

    (stage,) = report.summed(report.read_lines(tmp_path / "lines"))

    assert stage.name == "crash points"
    assert stage.figures == {
        "faults": 20,
        "orders": 200,
        "lost": 2,
        "doubled": None,
        "missing results": None,
        "p99 recovery s": None,
        "worst recovery s": 2,
    }


def test_rows_of_one_recovery_each_are_ranked() -> None:
    lines = [{"stage": "environment", "row": str(n), "recovery_s": n / 10} for n in range(200)]

    (stage,) = report.summed(lines)

    assert stage.figures["faults"] == 200
    assert stage.figures["p99 recovery s"] == 19.8
    assert stage.figures["worst recovery s"] == 19.9


def test_tests_of_a_stage_and_what_struck_them_are_counted(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><properties><property name="test_a[x]" value="16"/></properties>'
        '<testcase classname="tests.faults.test_nth_cut" name="test_a[x]" time="60"/>'
        '<testcase classname="tests.faults.model.test_b" name="test_b" time="1"><failure/></testcase>'
        "</testsuite></testsuites>"
    )

    model, cut = report.summed([], junit)

    assert (model.name, model.passed, model.failed) == ("model", 0, 1)
    assert (cut.name, cut.passed, cut.seconds, cut.figures["faults"]) == ("nth cut", 1, 60, 16)


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 1)])
def test_report_fails_when_an_order_was_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: int, code: int
) -> None:
    lines, written = tmp_path / "lines", tmp_path / "table.json"
    lines.write_text(json.dumps({"stage": "storm", "row": "seed 1", "faults": 1240, "lost": lost}))

    assert report.main([str(lines), "--json", str(written)]) == code

    assert "1,240" in capsys.readouterr().out
    assert json.loads(written.read_text())[0]["figures"]["lost"] == lost
