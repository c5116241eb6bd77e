"""Prometheus and promtool, where this machine has them: rules are checked, and alerts seen firing."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from typing import Any

import yaml

from local.directory import free_port
from tests.harness import eventually
from tests.skips import Reason, skip

FOLDER = Path(__file__).parent.parent / "deploy" / "prometheus"
RULES = FOLDER / "rules.yml"
JOB = "orders-worker"
# How long an alert waits in a test, which is minutes in the rules.
WAITS = "1s"
EVERY = "250ms"


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder, and return how that ended."""
    if not which("promtool"):
        skip(Reason.NO_PROMETHEUS)
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerting rules, by name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {each["alert"]: each for group in groups for each in group["rules"] if "alert" in each}


def hurried(rules: str, looks_back_s: int) -> str:
    """Return rules whose minutes are seconds: how long they wait, and how far they look back."""
    looks_back = f"{looks_back_s}s"
    waiting = re.sub(r"\bfor: \d+m\b", f"for: {WAITS}", rules)
    looking = re.sub(r"\[\d+m\]", f"[{looks_back}]", waiting)
    return re.sub(r"\boffset \d+m\b", f"offset {looks_back}", looking)


class Prometheus:
    """One that runs, and scrapes what it is told to."""

    def __init__(self, folder: Path, looks_back_s: int) -> None:
        if not which("prometheus"):
            skip(Reason.NO_PROMETHEUS)
        self._folder = folder
        self._port = free_port()
        folder.mkdir()
        rules = hurried(RULES.read_text(encoding="utf-8"), looks_back_s)
        (folder / "rules.yml").write_text(rules, encoding="utf-8")
        (folder / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
                    "rule_files": ["rules.yml"],
                    "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": ["targets.json"]}]}],
                }
            ),
            encoding="utf-8",
        )
        self.scrape({})
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip

    def scrape(self, replicas: Mapping[str, int]) -> None:
        """Scrape these replicas from now on: their ports, by names that outlive each start."""
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
            for name, port in replicas.items()
        ]
        new = self._folder / "targets.new"
        new.write_text(json.dumps(targets), encoding="utf-8")
        new.rename(self._folder / "targets.json")

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the labels of the alerts that fire now, by name."""
        found = self._asked("alerts")["alerts"]
        return {each["labels"]["alertname"]: each["labels"] for each in found if each["state"] == "firing"}

    def value(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds now."""
        found: list[dict[str, Any]] = self._asked(f"query?{urllib.parse.urlencode({'query': query})}")[
            "result"
        ]
        return found

    def is_up(self) -> bool:
        """Whether it answers; fails where it has ended instead."""
        assert self._process.poll() is None, (self._folder / "log").read_text(encoding="utf-8")
        with suppress(OSError):
            self._asked("alerts")
            return True
        return False

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _asked(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{what}", timeout=10) as page:
            found: dict[str, Any] = json.load(page)["data"]
        return found


@contextmanager
def prometheus(folder: Path, looks_back_s: int = 10) -> Iterator[Prometheus]:
    """Start one with our rules, in a hurry, and end it in the end."""
    made = Prometheus(folder, looks_back_s)
    try:
        eventually(made.is_up)
        yield made
    finally:
        made.end()
