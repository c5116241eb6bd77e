"""`worker pending`, and how entries that are pending are asked for and shown."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import asdict

from worker.bootstrap import commands
from worker.cli.shell import EXIT_FOUND, examples, settings_of_environment, translated
from worker.cli.streams import leave
from worker.domain.deliveries import entry_milliseconds, is_entry_id
from worker.domain.texts import escaped
from worker.domain.times import utc_text_of_ms
from worker.settings import Settings
from worker.status import Consumer
from worker.stream import PendingEntries, PendingEntry

PAGE_SIZE = 500
SHOWN = 100
MOST_IDLE_S = 315_360_000


class Asked(Struct, frozen=True):
    """Which pending entries a command is about."""

    entry_ids: Sequence[str] = ()
    consumer: bytes | None = None
    idle_ms: int = 0
    limit: int | None = None

    def pages(
        self,
        source: PendingEntries,
        *,
        until: str = "+",
        untouched_ms: Callable[[], int] = lambda: 0,
        missing: Callable[[str], object] = lambda _: None,
    ) -> Iterator[list[PendingEntry]]:
        """Yield page by page those untouched for so much longer; ids that aren't are missing."""
        left = math.inf if self.limit is None else self.limit
        found = (
            self._by_id(source, until, untouched_ms, missing)
            if self.entry_ids
            else self._in_order(source, until, untouched_ms)
        )
        for page in found:
            if page:
                yield page if len(page) <= left else page[: int(left)]
            left -= len(page)
            if left <= 0:
                return

    def _in_order(
        self, source: PendingEntries, until: str, untouched_ms: Callable[[], int]
    ) -> Iterator[list[PendingEntry]]:
        count = PAGE_SIZE if self.limit is None else min(PAGE_SIZE, self.limit)
        page, last = [], None
        while last is None or len(page) == count:
            idle_ms = self.idle_ms + untouched_ms()
            page = source.page(last, until=until, consumer=self.consumer, idle_ms=idle_ms, count=count)
            yield page
            last = page[-1].entry_id if page else ""

    def _by_id(
        self,
        source: PendingEntries,
        until: str,
        untouched_ms: Callable[[], int],
        missing: Callable[[str], object],
    ) -> Iterator[list[PendingEntry]]:
        # In the order they are named in; what is named after the last one that was shown has not been shown.
        count = self.entry_ids.index(until) + 1 if until in self.entry_ids else len(self.entry_ids)
        for start in range(0, count, PAGE_SIZE):
            ids = self.entry_ids[start : min(start + PAGE_SIZE, count)]
            idle_ms = self.idle_ms + untouched_ms()
            page = []
            for entry_id, each in zip(ids, source.find(ids), strict=True):
                if each is None or self.consumer not in {None, each.consumer}:
                    missing(entry_id)
                elif each.given_back or each.idle_ms >= idle_ms:
                    page.append(each)
            yield page


def entry_ids(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    """Check entry ids as they stand on a command line; each once."""
    for each in given:
        if not is_entry_id(each):
            raise click.BadParameter(
                f"{escaped(each[:60])!r} is no entry id, such as 1700000000000-0: `worker pending` lists them"
            )
    return tuple(dict.fromkeys(f"{int(a)}-{int(b)}" for a, _, b in (each.partition("-") for each in given)))


def milliseconds(_context: click.Context, _parameter: click.Parameter, given: float | None) -> int | None:
    """Turn seconds on a command line into milliseconds."""
    if given is not None and not 0 <= given <= MOST_IDLE_S:
        raise click.BadParameter(f"must be from 0 to {MOST_IDLE_S} seconds")
    return None if given is None else round(given * 1000)


def name(_context: click.Context, _parameter: click.Parameter, given: str | None) -> bytes | None:
    """Return a consumer's name as the bytes that it is."""
    if given == "":
        raise click.BadParameter("must not be empty")
    return None if given is None else os.fsencode(given)


consumer_option = click.option(
    "--consumer", metavar="NAME", callback=name, help="Only what this consumer holds."
)
idle_option = click.option(
    "--idle",
    "idle_ms",
    type=float,
    metavar="SECONDS",
    callback=milliseconds,
    help="Only what nobody has read, claimed or renewed for so long.",
)


@click.command(
    epilog=examples(
        "worker pending --idle 60   # what nobody has touched for a minute", "worker pending --json"
    )
)
@consumer_option
@idle_option
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="Entries shown.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def pending(consumer: bytes | None, idle_ms: int | None, limit: int, *, as_json: bool) -> None:
    """Show which consumer holds which entries, for how long untouched, how often delivered, since when.

    A consumer that is at work is heard of every quarter of WORKER_LEASE_MS, when it renews what it holds and
    looks for abandoned entries, and mostly with every read. One that was not heard of for two leases, or two
    times WORKER_BLOCK_MS if that is longer, is marked GONE: its process has ended, hangs, or can't reach
    Redis. What it holds is claimable once it was untouched for a lease; `worker replay` makes it claimable
    now, which counts as hearing of its consumer.
    """
    settings = settings_of_environment()
    asked = Asked(consumer=consumer, idle_ms=idle_ms or 0, limit=limit + 1)
    with commands.pending_entries(settings) as source:
        consumers = [
            Consumer.of(each, lease_ms=settings.lease_ms, block_ms=settings.block_ms)
            for each in source.consumers()
        ]
        if consumer is not None:
            consumers = [each for each in consumers if each.name == shown_name(consumer, plain=True)]
        if consumer is not None and not consumers:
            leave(
                EXIT_FOUND,
                f"group {settings.group} has no consumer {shown_name(consumer)}: `worker pending` lists all",
            )
        entries = _up_to(limit, asked.pages(source))
        (_print_json if as_json else _print_text)(settings, consumers, entries)


def shown_name(consumer: bytes, *, plain: bool = False) -> str:
    """Return a consumer's name for people, or `plain` as other replies have it."""
    decoded = consumer.decode("utf-8", "replace")
    return decoded if plain else escaped(decoded)


def since(entry_id: str) -> str:
    """Return when Redis accepted the entry, as its id says."""
    return utc_text_of_ms(entry_milliseconds(entry_id), "milliseconds")


def as_json_object(entry: PendingEntry, lease_ms: int) -> dict[str, Any]:
    """Return a pending entry for programs."""
    return {
        "entry_id": entry.entry_id,
        "consumer": None if entry.given_back else shown_name(entry.consumer, plain=True),
        "idle_ms": None if entry.given_back else entry.idle_ms,
        "deliveries": entry.deliveries,
        "claimable": entry.is_claimable(lease_ms),
    }


def as_line(entry: PendingEntry, lease_ms: int) -> str:
    """Return a pending entry for people."""
    mark = "  claimable" if entry.is_claimable(lease_ms) else ""
    idle = "not known" if entry.given_back else f"{entry.idle_ms / 1000:.1f} s"
    holder = "nobody, given back" if entry.given_back else shown_name(entry.consumer)
    return (
        f"{entry.entry_id:<22} {since(entry.entry_id):<24} {idle:>12} {entry.deliveries:>6}  {holder}{mark}"
    )


def entries_of(count: int) -> str:
    """Return so many entries in words."""
    return "1 entry" if count == 1 else f"{count} entries"


HEADING = f"{'entry':<22} {'since':<24} {'idle':>12} {'times':>6}  consumer"


def _up_to(limit: int, pages: Iterator[list[PendingEntry]]) -> Iterator[PendingEntry | None]:
    """Yield so many entries, and None where there are more."""
    shown = 0
    for page in pages:
        for entry in page:
            if shown == limit:
                yield None
                return
            yield entry
            shown += 1


def _print_json(
    settings: Settings, consumers: Sequence[Consumer], entries: Iterator[PendingEntry | None]
) -> None:
    listed = [asdict(each) for each in consumers]
    # By hand: what is pending need not fit into memory.
    click.echo(f'{{"consumers": {json.dumps(listed)},\n "entries": [', nl=False)
    more, separator = False, ""
    for entry in entries:
        if entry is None:
            more = True
        else:
            click.echo(f"{separator}\n  {json.dumps(as_json_object(entry, settings.lease_ms))}", nl=False)
            separator = ","
    click.echo(f'],\n "more": {json.dumps(more)}}}')


def _print_text(
    settings: Settings, consumers: Sequence[Consumer], entries: Iterator[PendingEntry | None]
) -> None:
    if not consumers:
        click.echo(f"group {settings.group} on {settings.orders_stream} has no consumers, nothing is pending")
        return
    click.echo(f"{'pending':>8} {'last heard of':>15}  consumer")
    for each in consumers:
        mark = "  GONE" if each.gone else ""
        click.echo(f"{each.pending:>8} {each.idle_ms / 1000:>13.1f} s  {escaped(each.name)}{mark}")
    heading = f"\n{HEADING}"
    for entry in entries:
        if entry is None:
            click.echo("... and more: --limit shows them, --consumer and --idle choose")
        else:
            if heading:
                click.echo(heading)
                heading = ""
            click.echo(as_line(entry, settings.lease_ms))
