"""Tells the story in the terminal: sentences, commands with what they print, and figures."""

import time
from collections.abc import Iterable, Mapping

from rich.console import Console

from local.demo.commands import Said

MARGIN = "      "


class Narrator:
    """Prints line by line, plainly where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the story has been going on."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        """Begin a chapter, with the time on the clock of the story."""
        self._print(f"\n{clock(self.seconds):>4}  {text}", "bold")

    def say(self, text: str) -> None:
        """Tell something."""
        self._print(MARGIN + text)

    def see(self, address: str) -> None:
        """Name the page where it can be seen."""
        self._print(f"{MARGIN}See {address}", "cyan")

    def command(self, said: Said, lines: Iterable[str] | None = None) -> None:
        """Show a command and what it has printed, or some lines of that."""
        self._print(f"{MARGIN}$ {said.command}", "bold dim")
        for line in said.lines if lines is None else lines:
            self._print(f"{MARGIN}  {line}", "dim")

    def figures(self, figures: Mapping[str, str]) -> None:
        """Print what was counted."""
        self._print("")
        for label, figure in figures.items():
            self._print(f"{label:<16}{figure:>7}")
        self._print("")

    def good(self, text: str) -> None:
        """Say that all is as promised."""
        self._print(text, "bold green")

    def bad(self, text: str) -> None:
        """Say what is not as promised."""
        self._print(text, "bold red")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Return a time of the story, such as 1:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
