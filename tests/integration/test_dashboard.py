"""The dashboard asks for nothing that a live worker does not tell, and each query finds something."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests import documentation
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from tests.integration.test_metrics import NOT_EVERYWHERE, families
from tests.prometheus import JOB, RULES, prometheus

DASHBOARD = documentation.DOCS.parent / "deploy" / "grafana" / "orders-worker.json"
# Given by whoever scrapes, and by Prometheus itself.
OF_A_TARGET = {"job", "instance", "namespace", "le"}
OWN = {"ALERTS": {"alertstate", "severity", "alertname"}}
STRING = re.compile(r'"[^"]*"')
LISTED = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")
SELECTED = re.compile(r"\b([a-zA-Z_][\w:]*)(?:\{([^}]*)\})?(?!\s*\(|\w)")
WORDS = {"or", "and", "unless", "bool", "offset"}


def panels() -> Iterator[dict[str, Any]]:
    yield from json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


def queries() -> list[str]:
    """Every query of every panel."""
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def named(query: str) -> tuple[set[str], set[str]]:
    """The metrics that a query names, and the labels."""
    plain = re.sub(r"\[[^]]*\]", "", STRING.sub('""', query))
    listed = LISTED.findall(plain)
    labels = {label.strip() for each in listed for label in each.split(",") if label.strip()}
    found = SELECTED.findall(LISTED.sub("", plain))
    labels |= {label for _, matchers in found for label in re.findall(r"(\w+) ?[=!]", matchers)}
    return {name for name, _ in found} - WORDS, labels


def with_labels(replica: Any) -> dict[str, set[str]]:
    """The samples that a replica tells, and what is recorded of them, each with the labels that it has."""
    told: dict[str, set[str]] = {}
    for family in families(replica):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    recorded = {
        each["record"]: each["expr"] for group in groups for each in group["rules"] if "record" in each
    }
    for name, expression in recorded.items():
        (of,), _ = named(expression)
        if of in told:
            told[name] = told[of]
    return told


def test_query_is_taken_apart_into_metrics_and_labels() -> None:
    query = (
        'sum by (server, le) (rate(a_total{job=~"x|y", r!="b"}[5m])) / scalar(count(c:d:max)) or vector(0)'
    )

    assert named(query) == ({"a_total", "c:d:max"}, {"server", "le", "job", "r"})


def test_dashboard_names_only_what_a_live_worker_tells(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3))
    with running(deployment) as replica:
        eventually(deployment.all_settled)
        eventually(lambda: "execution_retention_age_seconds" in with_labels(replica))
        eventually(lambda: "execution_schema_usable" in with_labels(replica))
        told = with_labels(replica) | OWN

    for query in queries():
        metrics, labels = named(query)
        assert metrics, query
        unknown = {
            each
            for each in metrics - told.keys()
            if not any(each.endswith(f"{n}:max") for n in NOT_EVERYWHERE)
        }
        assert unknown == set(), query
        assert labels - OF_A_TARGET <= set[str]().union(*(told.get(each, set()) for each in metrics)), query


def test_panel_has_its_question() -> None:
    shown = [each for each in panels() if each["type"] != "row"]

    assert all(each["description"].endswith("?") for each in shown)
    assert len({each["id"] for each in panels()}) == len(list(panels()))


def test_every_query_finds_something_in_prometheus(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(3))
    asked = [
        each.replace("$__rate_interval", "30s").replace('"$job"', f'"{JOB}"')
        for each in queries()
        # Trouble is not to be found here.
        if "> 0" not in each and not any(name in each for name in NOT_EVERYWHERE)
    ]

    with prometheus(tmp_path / "prometheus") as watch, running(deployment) as replica:
        watch.scrape({"replica": replica.server.port})
        eventually(deployment.all_settled)
        for query in asked:
            eventually(partial(watch.value, query), within=60)
