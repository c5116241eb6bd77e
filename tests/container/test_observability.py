"""The profile with Prometheus and Grafana: its configuration is sound, and all that it mounts is there.

Its images are not started here: no engine of the tests has them.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.container.stack import ROOT, Stack

OURS = {"prometheus", "grafana"}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def test_configuration_with_the_profile_is_sound(tmp_path: Path) -> None:
    done = Stack(tmp_path).compose("--profile", "observability", "config", "--services")

    assert set(done.stdout.split()) >= OURS


def test_profile_is_off_unless_it_is_asked_for() -> None:
    assert {name for name, each in services().items() if each.get("profiles") == ["observability"]} == OURS


def test_profile_mounts_what_is_there_and_is_open_to_this_machine_alone() -> None:
    for name in OURS:
        mounted = [each.partition(":")[0] for each in services()[name]["volumes"] if each.startswith(".")]
        assert mounted
        assert all((ROOT / each).exists() for each in mounted)
        assert all(each.startswith("127.0.0.1:") for each in services()[name]["ports"])


def test_grafana_is_given_our_prometheus_and_our_dashboard() -> None:
    folder = ROOT / "deploy" / "grafana"
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/orders-worker.yml").read_text())[
        "providers"
    ]
    board = json.loads((folder / "orders-worker.json").read_text(encoding="utf-8"))

    assert source["url"] == "http://prometheus:9090"
    assert source["isDefault"]
    assert board["templating"]["list"][0]["query"] == source["type"]
    assert any(
        each.startswith("./deploy/grafana/orders-worker.json:") and f":{provider['options']['path']}/" in each
        for each in services()["grafana"]["volumes"]
    )
