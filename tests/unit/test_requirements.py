"""What is installed is pinned with hashes, one version everywhere, from wherever pip is told to look."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.processes import ROOT

FOLDER = ROOT / "requirements"
FILES = sorted(FOLDER.glob("*.txt"))
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)(\[[a-z,]+\])?==(?P<version>\S+)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = {"worker": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def pinned(name: str) -> dict[str, str]:
    """Return the versions that stand in a file."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return {found["name"]: found["version"] for found in PIN.finditer(text)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_pin_has_hashes_and_none_an_address(file: object) -> None:
    text = (FOLDER / str(file)).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith(" ")]

    assert entries
    assert all("--hash=sha256:" in entry and PIN.match(entry) for entry in entries), file
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize("extra", ASKED)
def test_pins_are_of_what_the_project_asks_for(extra: str) -> None:
    versions = pinned(extra)
    for line in ASKED[extra]:
        asked = Requirement(line)
        if asked.name == PROJECT["name"]:
            continue
        assert asked.name.lower() in versions, f"requirements/compile has not been run since {line} was added"
        assert asked.specifier.contains(versions[asked.name.lower()]), line


def test_image_with_traces_has_what_the_one_without_has_and_what_sends_them() -> None:
    without, with_traces = pinned("worker"), pinned("otel")

    assert without.items() <= with_traces.items()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= with_traces.keys()
    assert not any("opentelemetry" in name for name in without)
    assert "requirements/${REQUIREMENTS}.txt" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_packages_have_one_version_wherever_they_are_installed() -> None:
    everywhere = [(file.stem, pinned(file.stem)) for file in FILES]
    versions: dict[str, set[str]] = {}
    for _, pins in everywhere:
        for name, version in pins.items():
            versions.setdefault(name, set()).add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
