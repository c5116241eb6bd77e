"""Runs the steps of steps.toml, each in a nearly empty environment, and says at the end what came of each.

Needs nothing but Python 3.11 or newer. A step whose Python, program or image can't be had is named and left
out; with --strict it has failed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("steps.toml")
FETCH_LIMIT_S = 300
# What a step finds of the environment: where things are, and how the engine and the network are reached.
KEPT = re.compile(r"HOME|PATH|DOCKER_\w+|(https?|no)_proxy", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """Commands, and what they need."""

    name: str
    python: str
    commands: Sequence[str]
    programs: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def lacks(self) -> str | None:
        """Return what it needs and this machine does not have, or None."""
        return next(self._lacks(), None)

    def _lacks(self) -> Iterator[str]:
        if not _succeeds(f"python{self.python}", "-c", "import ensurepip, venv"):
            yield f"no python{self.python} with venv"
        for program, package in self.programs.items():
            if shutil.which(program) is None:
                yield f"no {program} on PATH: apt install {package}"
        images = [
            *self.images,
            *(value for name, value in self.environment.items() if name.endswith("_IMAGE")),
        ]
        if images and not _succeeds("docker", "info"):
            yield "no Docker engine answers `docker info`"
        for image in images:
            if not _succeeds("docker", "image", "inspect", image) and not _succeeds(
                "docker", "pull", "-q", image
            ):
                yield f"the image {image} can't be had"

    def run(self) -> int:
        """Run its commands in their own environment; return the exit code of the first that fails, or 0."""
        given = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        # Each Python has a .venv of its own here, where all of them are tried in one checkout.
        made = f"make PYTHON=python{self.python} VENV=.local/venv-{self.python} "
        for command in self.commands:
            _say(f"$ {command}")
            code = subprocess.run(
                ["/bin/sh", "-c", command.replace("make ", made, 1)],
                cwd=ROOT, env={**given, **self.environment}, check=False,
            ).returncode  # fmt: skip
            if code:
                return code
        return 0


def _succeeds(*command: str) -> bool:
    try:
        return (
            subprocess.run(command, capture_output=True, check=False, timeout=FETCH_LIMIT_S).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def listed() -> list[Step]:
    """Return all steps, in order."""
    return [Step(**each) for each in tomllib.loads(LIST.read_text(encoding="utf-8"))["step"]]


def main() -> int:
    """Run steps by name, or all of them; return 1 where one has failed."""
    parser = argparse.ArgumentParser(prog=".ci/steps.py", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the names and Pythons of all steps, run none"
    )
    parser.add_argument("--strict", action="store_true", help="take a step that is left out for failed")
    parser.add_argument(
        "names", nargs="*", metavar="STEP", help="a part of the name of a step; none: all steps"
    )
    asked = parser.parse_args()
    if asked.json:
        _say(
            json.dumps(
                [
                    {"name": s.name, "python": s.python, "packages": " ".join(s.programs.values())}
                    for s in listed()
                ]
            )
        )
        return 0
    chosen = [step for step in listed() if not asked.names or any(name in step.name for name in asked.names)]
    if not chosen:
        parser.error(f"no step is named so; there are: {', '.join(step.name for step in listed())}")
    came_to = []
    for step in chosen:
        lacking = step.lacks()
        _say(f"\n=== {step.name}" + (f": left out, {lacking}" if lacking else ""))
        began = time.monotonic()
        code = None if lacking else step.run()
        how = (
            f"left out: {lacking}" if code is None else "passed" if code == 0 else f"failed, exit code {code}"
        )
        came_to.append((step.name, (time.monotonic() - began) / 60, code, how))
    _say("")
    for name, minutes, _, how in came_to:
        _say(f"{minutes:5.1f} min  {name}: {how}")
    return int(any(code or (code is None and asked.strict) for _, _, code, _ in came_to))


if __name__ == "__main__":
    sys.exit(main())
