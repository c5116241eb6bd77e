"""`worker dead list`, `show`, `replay` and `discard`."""

import getpass
import json
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click
import msgspec
from msgspec import Struct

from worker import wire
from worker.bootstrap import commands, spelling
from worker.cli.letters import Edit, LetterId, Wanted, changing, once_each, selecting, wanted_of
from worker.cli.progress import progress_bar
from worker.cli.shell import (
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    leave_for,
    settings_of_environment,
    translated,
)
from worker.cli.streams import leave, say
from worker.domain.deliveries import entry_milliseconds
from worker.domain.errors import Outage
from worker.domain.texts import escaped
from worker.domain.times import utc_text, utc_text_of_ms
from worker.stream import Closing, DeadLetters, LetterState, StoredLetter

NAMED = 100
GONE = "there is no such dead letter"
STATES = ("open", "replayed", "discarded", "closed", "all")


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


@click.group()
def dead() -> None:
    """List, show, replay and discard dead letters."""


@dead.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--closed", is_flag=True, help="Those that were replayed or discarded.")
@click.option("--state", type=click.Choice(STATES), show_default="open", help="Those in this state.")
@selecting
@translated
def list_letters(
    *,
    as_json: bool,
    closed: bool,
    state: str | None,
    reasons: tuple[str, ...],
    since_s: float | None,
    limit: int | None,
) -> None:
    """List dead letters, oldest first; those that are open, unless asked otherwise."""
    if closed and state not in {None, "closed"}:
        raise click.UsageError(f"either --closed or --state {state}")
    wanted = Wanted((), reasons, since_s, limit, "closed" if closed else state or "open")
    with commands.dead_letters(settings_of_environment()) as letters:
        found = wanted.among(letters)
        if as_json:
            click.echo(json.dumps({"letters": [_described(letter) for letter in found]}, indent=2))
            return
        for letter in found:
            click.echo(_line(letter))


@dead.command()
@click.argument("letter_id", metavar="ID", type=LetterId())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def show(letter_id: str, *, as_json: bool) -> None:
    """Show one dead letter with its original fields."""
    settings = settings_of_environment()
    with commands.dead_letters(settings) as letters:
        letter = letters.find(letter_id)
    if letter is None:
        leave(EXIT_FOUND, f"{letter_id}: {GONE}")
    described = _described(letter) | {"fields": _originals(letter)}
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for name, value in described.items():
        if name != "fields":
            spelled = value if isinstance(value, str) else json.dumps(value)
            click.echo(f"{escaped(name):<15} {escaped(spelled)}")
    for name, value in _originals(letter):
        click.echo(f"  {escaped(name)} = {escaped(value)}")
    if letter.closed is None:
        click.echo(_what_next(letter, spelling.decoder_of(settings)))


@dead.command()
@click.option("--set", "edits", type=Edit(), multiple=True, help="Edit a field: name=value; may be repeated.")
@click.option("--fresh", is_flag=True, help="Date the order from now, unless --set timestamp=... says when.")
@changing
@translated
def replay(
    *, ids: tuple[str, ...], reasons: tuple[str, ...], since_s: float | None, limit: int | None,
    everything: bool, dry_run: bool, yes: bool, as_json: bool, edits: tuple[tuple[str, str], ...], fresh: bool,
) -> None:  # fmt: skip
    """Add the orders of dead letters to the stream again, each once, and close the letters.

    An order keeps its id. Safe to interrupt and to run again.
    """
    wanted = wanted_of(ids, reasons, since_s, limit, everything=everything)
    edited = once_each(edits)
    _refuse_unasked(yes=yes or dry_run)
    settings = settings_of_environment()
    decoder = spelling.decoder_of(settings)

    def one(letters: DeadLetters, letter: StoredLetter) -> Closing | None:
        stamped = {"timestamp": str(int(time.time()))} if fresh else {}
        made = wire.replay_of(wire.read_letter(letter.fields), stamped | edited, decoder)
        if dry_run:
            return None
        # Not where the time was set by hand.
        fresh_now = fresh and "timestamp" not in edited
        state = LetterState("replayed", _who(), _now(), made.changed, fresh=fresh_now)
        return letters.replay(letter.letter_id, state, made.fields)

    with commands.dead_letters(settings) as letters:
        chosen = wanted.chosen(letters)
        if "order_id" in edited and len(chosen) > 1:
            raise click.UsageError("--set order_id=... is for one letter: several orders can't share an id")
        _ask(f"replay {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        _close_all(letters, chosen, one, Work("replayed", dry_run), as_json=as_json)


@dead.command()
@changing
@translated
def discard(
    *, ids: tuple[str, ...], reasons: tuple[str, ...], since_s: float | None, limit: int | None,
    everything: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Close dead letters without adding anything; they stay to be seen, and can't be replayed any more."""
    wanted = wanted_of(ids, reasons, since_s, limit, everything=everything)
    _refuse_unasked(yes=yes or dry_run)

    def one(letters: DeadLetters, letter: StoredLetter) -> Closing | None:
        return (
            None if dry_run else letters.discard(letter.letter_id, LetterState("discarded", _who(), _now()))
        )

    with commands.dead_letters(settings_of_environment()) as letters:
        chosen = wanted.chosen(letters)
        _ask(f"discard {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        _close_all(letters, chosen, one, Work("discarded", dry_run), as_json=as_json)


def _refuse_unasked(*, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask: say --yes, or look with --dry-run")


def _ask(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _close_all(
    letters: DeadLetters,
    chosen: Iterable[str],
    one: Callable[[DeadLetters, StoredLetter], Closing | None],
    work: Work,
    *,
    as_json: bool,
) -> None:
    chosen = list(chosen)
    work.total = len(chosen)
    if not chosen:
        _say(work, as_json=as_json)
        return
    with progress_bar() as progress:
        try:
            for letter_id in progress.track(chosen, description=work.verb):
                _close(letters, letter_id, one, work)
        except Outage as outage:
            progress.stop()
            leave_for(outage, f"{work.how_far}; run it again, none is done twice")
        except KeyboardInterrupt:
            progress.stop()
            leave(EXIT_INTERRUPTED, f"interrupted\n{work.how_far}; run it again, none is done twice")
    _say(work, as_json=as_json)


def _close(
    letters: DeadLetters,
    letter_id: str,
    one: Callable[[DeadLetters, StoredLetter], Closing | None],
    work: Work,
) -> None:
    letter = letters.find(letter_id)
    if letter is None:
        work.refused[letter_id] = GONE
        return
    try:
        closing = one(letters, letter) if letter.closed is None else Closing(False, letter.closed)
    except wire.NotReplayable as refused:
        work.refused[letter_id] = str(refused)
        return
    if closing is None:
        work.done[letter_id] = None
    elif closing.state is None:
        work.refused[letter_id] = GONE
    elif closing.ours:
        work.done[letter_id] = closing.state.replayed_as
    elif closing.state.state == work.closes_as:
        work.already += 1
    else:
        work.refused[letter_id] = _how_closed(closing.state)


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


def _line(letter: StoredLetter) -> str:
    notes = wire.read_letter(letter.fields).notes
    parts = [
        letter.letter_id,
        _when(letter.letter_id),
        notes.get("reason", "-"),
        notes.get("order_id", "-"),
        notes.get("error", "-")[:NAMED] if letter.closed is None else _how_closed(letter.closed),
    ]
    return "  ".join(escaped(part) for part in parts)


def _what_next(letter: StoredLetter, decoder: wire.Decoder) -> str:
    discard_it = f"`worker dead discard {letter.letter_id}` closes it"
    try:
        wire.replay_of(wire.read_letter(letter.fields), {}, decoder)
    except wire.NotReplayable as why:
        return f"can't be replayed as it is: {escaped(str(why))}\n{discard_it}"
    return f"`worker dead replay {letter.letter_id}` adds it again, {discard_it}"


def _how_closed(state: LetterState) -> str:
    what = f"{state.state} as {state.replayed_as}" if state.replayed_as else state.state
    return f"{what} by {state.by} at {state.at}"


def _described(letter: StoredLetter) -> dict[str, Any]:
    notes: Mapping[str, str] = wire.read_letter(letter.fields).notes
    closed = {} if letter.closed is None else {"closed": msgspec.to_builtins(letter.closed)}
    return {
        "id": letter.letter_id,
        "buried": _when(letter.letter_id),
        "state": letter.state,
        **notes,
        **closed,
    }


def _originals(letter: StoredLetter) -> list[tuple[str, str]]:
    originals = wire.read_letter(letter.fields).originals
    return [(wire.shown(name), wire.shown(value)) for name, value in originals]


def _when(entry_id: str) -> str:
    return utc_text_of_ms(entry_milliseconds(entry_id))


def _now() -> str:
    return utc_text(datetime.now(UTC))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have no name.
        user = "unnamed"
    return f"{user}@{socket.gethostname()}"
