"""Which dead letters a person means, and what is to be edited in them."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import click
from msgspec import Struct

from worker import wire
from worker.bootstrap.letters import LetterDesk
from worker.domain.deliveries import is_entry_id, spelled
from worker.domain.texts import escaped
from worker.domain.times import span_s, unix_ms_ago
from worker.status.letters import LetterLine, Wanted

NEVER_EDITED = {"replay_of"}

F = TypeVar("F", bound=Callable[..., None])


class LetterId(click.ParamType[str]):
    """The id of an entry: milliseconds, a hyphen, a number."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id as it is, or fail as a usage error."""
        if not is_entry_id(value):
            self.fail(
                f"{escaped(value)!r} is no id like 1700000000000-0: `worker dead list` has them", param, ctx
            )
        return spelled(value)


class Ago(click.ParamType[float]):
    """A time span up to now: seconds, or 10m, 2h, 1d."""

    name = "span"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, or fail as a usage error."""
        seconds = span_s(str(value))
        if seconds is None:
            self.fail(f"{escaped(str(value))!r} is no time span like 90, 10m, 2h or 1d", param, ctx)
        return seconds


class Edit(click.ParamType[tuple[str, str]]):
    """A field and what it is to be."""

    name = "name=value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and value, or fail as a usage error."""
        if isinstance(value, tuple):
            return value
        name, sign, new = value.partition("=")
        if not sign or not name or name in NEVER_EDITED or not wire.is_unicode(value):
            self.fail(f"{escaped(value)!r} is no field to set, as quantity=1 is", param, ctx)
        if name == "order_id" and not wire.is_order_id(new):
            self.fail("an order id is 1 to 128 characters of A-Z a-z 0-9 . _ : / -", param, ctx)
        return name, new


def once_each(edits: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return edits by field, or end as a usage error where one field is to be two things."""
    edited = dict[str, str]()
    for name, value in edits:
        if name in edited:
            raise click.UsageError(f"--set {escaped(name)}=... is there twice")
        edited[name] = value
    return edited


class Meant(Struct, frozen=True):
    """Which letters a person means."""

    ids: tuple[str, ...]
    reasons: tuple[str, ...]
    since_s: float | None
    limit: int | None
    state: str = "open"

    def among(self, desk: LetterDesk, *, ours_alone: bool = False) -> Iterator[LetterLine]:
        """Yield the letters that fit, oldest first, at most `limit`; ids are not looked at."""
        wanted = Wanted(self.state, self.reasons, unix_ms_ago(self.since_s, time.time()), ours_alone)
        return islice(desk.walk(wanted), self.limit)

    def chosen(self, desk: LetterDesk) -> list[str]:
        """Return ids alone: what they hold is read again, one by one, when its turn comes.

        Letters of other fleets are among them only where they are named.
        """
        if self.ids:
            return list(dict.fromkeys(self.ids))[: self.limit]
        return [letter.letter_id for letter in self.among(desk, ours_alone=True)]


def wanted_of(
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    since_s: float | None,
    limit: int | None,
    *,
    everything: bool,
) -> Meant:
    """Return what is meant, or end as a usage error where nothing or two things are."""
    filtered = bool(reasons) or since_s is not None
    if ids and (filtered or everything):
        raise click.UsageError("either ids, or --reason, --since, --all: leave out one of them")
    if not (ids or filtered or everything):
        raise click.UsageError("say which: ids, --reason, --since or --all; `worker dead list` shows them")
    return Meant(ids, reasons, since_s, limit)


def selecting(command: F) -> F:
    """Add the options that choose among letters."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), help="At most so many."),
        click.option("--since", "since_s", type=Ago(), help="Buried since then: seconds, or 10m, 2h, 1d."),
        click.option("--reason", "reasons", multiple=True, help="Of this reason; may be repeated."),
    ):
        command = option(command)
    return command


def changing(command: F) -> F:
    """Add the ids and options of a command that closes letters."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print a JSON object."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing."),
        click.option("--all", "everything", is_flag=True, help="All of this fleet that are open."),
        click.argument("ids", nargs=-1, type=LetterId()),
    ):
        command = option(command)
    return selecting(command)
