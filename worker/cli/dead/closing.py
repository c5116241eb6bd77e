"""Closes the dead letters that a person means, and says what came of it."""

import getpass
import json
import socket
import sys
from collections.abc import Callable, Iterable
from itertools import islice

import click
from msgspec import Struct

from worker.cli.dead.lines import NAMED
from worker.cli.progress import progress_bar
from worker.cli.shell import EXIT_FOUND, EXIT_INTERRUPTED, leave_for
from worker.cli.streams import leave, say
from worker.domain.errors import Outage
from worker.domain.texts import escaped
from worker.status.letters import ClosingOutcome, Outcome


class Work(Struct):
    """What a command that closes letters has come to."""

    closes_as: str
    dry_run: bool
    total: int = 0
    done: dict[str, str | None] = {}
    already: int = 0
    refused: dict[str, str] = {}

    @property
    def verb(self) -> str:
        """What is done, or would be."""
        return f"would be {self.closes_as}" if self.dry_run else self.closes_as

    @property
    def how_far(self) -> str:
        """One line for people."""
        refused = f", {len(self.refused)} refused" if self.refused else ""
        already = f", {self.already} were already" if self.already else ""
        return f"{len(self.done)} of {self.total} dead letters {self.verb}{already}{refused}"

    def count(self, closed: ClosingOutcome) -> None:
        """Count what came of one letter."""
        match closed.outcome:
            case Outcome.DONE:
                self.done[closed.letter_id] = closed.replayed_as
            case Outcome.ALREADY:
                self.already += 1
            case Outcome.REFUSED:
                self.refused[closed.letter_id] = closed.why


def refuse_unasked(*, yes: bool) -> None:
    """End as a usage error where nobody can be asked, and nobody has said yes."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask: say --yes, or look with --dry-run")


def ask(question: str, *, yes: bool) -> None:
    """Ask, unless that was answered; end the command where the answer is no."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def close_all(
    chosen: Iterable[str], close: Callable[[str], ClosingOutcome], work: Work, *, as_json: bool
) -> None:
    """Close one letter after the other and say what came of it; what was done before an outage stays done."""
    chosen = list(chosen)
    work.total = len(chosen)
    if not chosen:
        _say(work, as_json=as_json)
        return
    with progress_bar() as progress:
        try:
            for letter_id in progress.track(chosen, description=work.verb):
                work.count(close(letter_id))
        except Outage as outage:
            progress.stop()
            leave_for(outage, f"{work.how_far}; run it again, none is done twice")
        except KeyboardInterrupt:
            progress.stop()
            leave(EXIT_INTERRUPTED, f"interrupted\n{work.how_far}; run it again, none is done twice")
    _say(work, as_json=as_json)


def _say(work: Work, *, as_json: bool) -> None:
    for letter_id, why in islice(work.refused.items(), NAMED):
        say(f"{letter_id}: {escaped(why)}")
    if len(work.refused) > NAMED:
        say(f"and {len(work.refused) - NAMED} more")
    if as_json:
        counts = {"selected": work.total, "already": work.already}
        click.echo(json.dumps({**counts, work.verb: work.done, "refused": work.refused}, indent=2))
    else:
        for letter_id, entry_id in work.done.items():
            click.echo(f"{letter_id} as {entry_id}" if entry_id else letter_id)
        click.echo(work.how_far)
    if work.refused:
        sys.exit(EXIT_FOUND)


def who() -> str:
    """Return who closes a letter: the user, and on which host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have no name.
        user = "unnamed"
    return f"{user}@{socket.gethostname()}"
