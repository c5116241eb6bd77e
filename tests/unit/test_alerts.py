"""The rules of Prometheus: each alert has its page, does as its tests say, and these would notice if not."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests import documentation
from tests.prometheus import FOLDER, RULES, alerts, promtool

ROOT = documentation.DOCS.parent


def anchors(page: Path) -> set[str]:
    """What a page's headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", alerts())
def test_alert_leads_to_its_page_and_is_on_the_page_of_alerts(name: str) -> None:
    rule = alerts()[name]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")

    assert page.startswith("docs/runbook/")
    assert (ROOT / page).exists()
    assert not anchor or anchor in anchors(ROOT / page)
    assert rule["labels"] == {"severity": "page"}
    assert f"| `{name}` |" in (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    assert f"({rule['annotations']['runbook'].removeprefix('docs/')})" in (ROOT / "docs/alerts.md").read_text(
        encoding="utf-8"
    )


def test_page_of_alerts_names_no_other() -> None:
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/alerts.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert named == list(alerts())


def test_figure_of_the_fleet_is_in_no_alert_as_each_replica_tells_it() -> None:
    fleet = "|".join(each.name for each in documentation.of_the_fleet())

    for name, rule in alerts().items():
        assert not re.search(rf"(?<![:\w])({fleet})\b", rule["expr"]), name


def test_rules_and_their_tests_are_sound() -> None:
    checked = promtool("check", "rules", "rules.yml")
    tested = promtool("test", "rules", "rules_test.yml")

    assert checked.returncode == 0, checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


def with_rules(rules: str, folder: Path) -> tuple[int, str]:
    """Return how the tests of the rules end with other rules, and what they say."""
    shutil.copy(FOLDER / "rules_test.yml", folder)
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    done = promtool("test", "rules", "rules_test.yml", folder=folder)
    return done.returncode, done.stdout + done.stderr


def test_rule_that_never_fires_is_red(tmp_path: Path) -> None:
    made = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in made["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = f"({rule['expr']}) unless on () vector(1)"

    code, said = with_rules(yaml.safe_dump(made), tmp_path)

    # Each by itself: what is expected and did not come is listed under its name.
    assert code == 1
    assert set(re.findall(r"alertname: ?(\w+)", said)) == set(alerts()), said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "expr: fleet:execution_stream_oldest_waiting_age_seconds:max > 60",
            "expr: fleet:execution_stream_oldest_waiting_age_seconds:max > 600",
        ),
        ("          unless fleet:execution_stream_oldest_waiting_age_seconds:max > 60\n", ""),
        ('reason=~"poison|failed"}[15m]', 'reason!=""}[15m]'),
        ("          unless execution_deliveries_total offset 15m) > 0", "          ) > 0"),
        ("        for: 5m\n", "        for: 1m\n"),
        (
            "max by (namespace, job, server) (execution_in_outage)",
            "min by (namespace, job) (execution_in_outage)",
        ),
        ('{risk=~"evicts|forgets"}', ""),
        ("[15m])) >= 3", "[15m])) >= 1"),
        (
            "expr: max by (namespace, job) (execution_stream_lag)",
            "expr: sum by (namespace, job) (execution_stream_lag)",
        ),
    ],
)
def test_rule_that_is_wrong_is_red(before: str, after: str, tmp_path: Path) -> None:
    rules = RULES.read_text(encoding="utf-8")
    assert rules.count(before) == 1

    code, said = with_rules(rules.replace(before, after), tmp_path)

    assert code == 1
    assert "FAILED" in said


def test_configuration_of_the_profile_is_sound() -> None:
    checked = promtool("check", "config", "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
