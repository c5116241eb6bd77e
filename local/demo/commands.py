"""The commands of the worker, run as somebody at a terminal would."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from local.demo.promises import BrokenPromiseError

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a command has printed, and its exit code."""

    command: str
    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        """The printed lines, without empty ones."""
        return [line for line in self.output.splitlines() if line.strip()]

    @property
    def first(self) -> str:
        """The first line: of `worker status` the sentence whether anything needs a person."""
        return self.lines[0] if self.lines else ""

    def labelled(self, *labels: str) -> list[str]:
        """Return those lines that begin with one of the labels."""
        return [line for line in self.lines if line.startswith(labels)]


class Commands:
    """`worker COMMAND ...` with the servers of the demo."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Said:
        """Return what it says; raise BrokenPromiseError where it ends with another code than these."""
        command = " ".join(["worker", *arguments])
        try:
            done = subprocess.run(
                [sys.executable, "-m", "worker", *arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokenPromiseError(f"`{command}` did not end within {LIMIT_S:.0f} s.") from error
        if done.returncode not in codes:
            said = f"{done.stdout}{done.stderr}".strip()
            raise BrokenPromiseError(f"`{command}` has ended with code {done.returncode}: {said}")
        return Said(command, done.returncode, done.stdout)
