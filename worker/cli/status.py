"""`worker status`: the first thing that a person on call types."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.bootstrap.status import snapshot
from worker.cli.shell import (
    EXIT_CONFIGURATION,
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    EXIT_UNREACHABLE,
    examples,
    settings_of_environment,
    translated,
)
from worker.domain.times import utc_text
from worker.settings import Settings
from worker.status import document_of, judge, lines_of, printed

EVERY_S = 2.0
LEAST_S, MOST_S = 0.1, 3600.0
_EXIT = {"unreachable": EXIT_UNREACHABLE, "refused": EXIT_CONFIGURATION, "misconfigured": EXIT_CONFIGURATION}


def _seconds(_context: click.Context, _parameter: click.Parameter, given: float | None) -> float | None:
    if given is not None and not LEAST_S <= given <= MOST_S:
        raise click.BadParameter(f"must be from {LEAST_S} to {MOST_S:g} seconds")
    return given


@click.command(epilog=examples("worker status", "worker status --watch 5   # again every 5 seconds"))
@click.option(
    "--watch", "every_s", is_flag=False, flag_value=EVERY_S, type=float, callback=_seconds,
    metavar="[SECONDS]",
    help=f"Look again and again, every {EVERY_S:g} seconds unless told otherwise, until Ctrl-C.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; with --watch one in each line.")
@translated
def status(*, every_s: float | None, as_json: bool) -> None:
    """Say whether anything needs a person, and what to run next; then show how everything stands.

    Changes nothing, and costs the servers the same however much is stored: what is looked at only in part
    says so. A consumer counts as gone by the rule of `worker pending`.

    Exit codes: 0 nothing needs a person, 1 something does, 3 a server is unreachable, 78 a setting is bad or
    a server refuses access; with --watch 130, when it is ended by Ctrl-C.
    """
    settings = settings_of_environment()
    if every_s is not None:
        _watch(settings, every_s, as_json=as_json)
    look = Look(settings)
    if as_json:
        click.echo(look.json(indent=2))
    elif sys.stdout.isatty():
        Console().print(look)
    else:
        click.echo(look.text)
    sys.exit(look.exit_code)


class Look:
    """What was found at one time, and what it means."""

    def __init__(self, settings: Settings) -> None:
        found = snapshot(settings)
        self._verdict = judge(found)
        self._document = document_of(found, self._verdict)
        self._lines = lines_of(found, self._verdict)

    @property
    def exit_code(self) -> int:
        """What the worst condition means to whoever called the command."""
        worst = self._verdict.worst
        return _EXIT.get(worst.name, EXIT_FOUND) if worst.needs_person else 0

    def json(self, *, indent: int | None = None) -> str:
        """All of it, for programs."""
        return printed(self._document, indent=indent)

    @property
    def text(self) -> str:
        """All of it for people, where there is no terminal: one line each, however long."""
        lines = [f"{label:<14} {text}".rstrip() for label, text in self._lines]
        return "\n".join([self._verdict.sentence, "", *lines])

    def __rich__(self) -> Group:
        """All of it for a terminal."""
        style = "bold red" if self._verdict.worst.needs_person else "bold green"
        table = Table.grid(padding=(0, 2))
        for label, text in self._lines:
            # Not as markup: brackets in a name are brackets.
            table.add_row(Text(label, style="dim"), Text(text, overflow="fold"))
        return Group(Text(self._verdict.sentence, style=style), Text(), table)


def _watch(settings: Settings, every_s: float, *, as_json: bool) -> NoReturn:
    """Look until somebody interrupts; a server that is away is shown, and looked for again."""
    try:
        if as_json:
            _repeat(every_s, lambda look: click.echo(look.json()), settings)
        if not sys.stdout.isatty():
            _repeat(every_s, lambda look: click.echo(f"{_now()}\n{look.text}\n"), settings)
        with Live(auto_refresh=False) as live:
            footer = f"every {every_s:g} s, Ctrl-C ends"

            def redraw(look: Look) -> None:
                live.update(Group(look, Text(f"{_now()}, {footer}", style="dim")), refresh=True)

            _repeat(every_s, redraw, settings)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _repeat(every_s: float, show: Callable[[Look], None], settings: Settings) -> NoReturn:
    while True:
        show(Look(settings))
        time.sleep(every_s)


def _now() -> str:
    return utc_text(datetime.now(UTC))
