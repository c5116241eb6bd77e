"""`worker replay`: makes stuck entries claimable now."""

import json
import sys
import time
from collections.abc import Sequence

import click

from worker.bootstrap import commands
from worker.cli.pending import (
    HEADING,
    PAGE_SIZE,
    Asked,
    as_line,
    consumer_option,
    entries_of,
    entry_ids,
    idle_option,
    shown_name,
)
from worker.cli.progress import progress_bar
from worker.cli.shell import (
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    examples,
    leave_for,
    settings_of_environment,
    translated,
)
from worker.cli.streams import leave, say
from worker.domain.errors import Outage
from worker.settings import Settings
from worker.stream import PendingEntries, PendingEntry, Readied

EXIT_USAGE = 2
LISTED = 20


@click.command(
    epilog=examples(
        "worker replay 1700000000000-0 --dry-run   # what would be done",
        "worker replay --consumer worker-host-4711-8a6494 --yes",
        "worker replay --all --yes",
    )
)
@click.argument("entry_ids", nargs=-1, metavar="[ENTRY_ID]...", callback=entry_ids)
@consumer_option
@idle_option
@click.option(
    "--all", "everything", is_flag=True, help="All that was not renewed for half a lease, or --idle."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many entries, the oldest first.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, change nothing.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def replay(
    entry_ids: Sequence[str], consumer: bytes | None, idle_ms: int | None, limit: int | None, *,
    everything: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make stuck pending entries claimable now, instead of a lease after they were last touched.

    Chosen by id, by --consumer, by --idle, or --all. Each stays with its consumer and keeps its delivery
    count; any replica takes it at its next scan: at its start, then every quarter of WORKER_LEASE_MS. Run
    this with the WORKER_LEASE_MS of the replicas.

    Safe while the owner may still be alive: what was renewed, claimed or settled since it was shown is left
    alone, and an owner at work renews and so keeps what it holds. If another replica claims an entry first,
    both may execute it; the table of orders takes one row, and the settled mark lets one result out. Safe to
    interrupt, and to run again.
    """
    if everything and (entry_ids or consumer is not None):
        raise click.UsageError("--all goes with neither entry ids nor --consumer: leave out one of them")
    if not (everything or entry_ids or consumer is not None or idle_ms is not None):
        raise click.UsageError(
            "say which: entry ids, --consumer, --idle or --all; `worker pending` lists them"
        )
    settings = settings_of_environment()
    if idle_ms is None:
        idle_ms = settings.lease_ms // 2 if everything else 0
    asked = Asked(entry_ids, consumer, idle_ms, limit)
    with commands.pending_entries(settings) as source:
        run = Replay(settings, source, asked, as_json=as_json)
        try:
            run.look()
            if not dry_run and run.count and run.agreed(yes=yes):
                run.carry_out()
            run.report(dry_run=dry_run)
        except (KeyboardInterrupt, click.Abort):
            leave(EXIT_INTERRUPTED, f"interrupted\n{run.how_far()}")
        except Outage as outage:
            leave_for(outage, run.how_far())


class Replay:
    """One replay: looks, shows, asks, does, reports. Holds no more entries than it lists."""

    def __init__(self, settings: Settings, source: PendingEntries, asked: Asked, *, as_json: bool) -> None:
        self._settings = settings
        self._source = source
        self._asked = asked
        self._as_json = as_json
        self._missing: list[str] = []
        self._last = ""
        self._shown_at = 0.0
        self._done = Readied()
        self._tried = False
        self.count = 0

    def look(self) -> None:
        """Count what is asked for and list the first of it."""
        for page in self._asked.pages(self._source, missing=self._missing.append):
            if not self._as_json:
                self._list(page[: max(0, LISTED - self.count)])
            self.count += len(page)
            self._last = page[-1].entry_id
        self._shown_at = time.monotonic()
        if not self._as_json and self.count > LISTED:
            click.echo(f"... and {self.count - LISTED} more")
        for entry_id in self._missing:
            say(f"{entry_id} is not pending{self._for_whom()}: `worker show {entry_id}` tells why")

    def agreed(self, *, yes: bool) -> bool:
        """Whether a person wants it done; leaves where nobody can answer."""
        if yes:
            return True
        if not sys.stdin.isatty():
            leave(EXIT_USAGE, "nothing was changed: nobody can be asked here, say --yes or --dry-run")
        return click.confirm(f"Make {entries_of(self.count)} claimable now?", err=True)

    def carry_out(self) -> None:
        """Make what was shown claimable, page by page."""
        self._tried = True
        with progress_bar() as progress:
            task = progress.add_task("making claimable", total=self.count)
            pages = self._asked.pages(self._source, until=self._last, untouched_ms=self._since_shown_ms)
            for page in pages:
                self._done = self._done.plus(self._source.make_claimable(page))
                progress.advance(task, len(page))

    def report(self, *, dry_run: bool) -> None:
        """Print what was done, and end with 1 where something that was named is not there."""
        if self._as_json:
            done = self._done
            found = {
                "matched": self.count,
                "made_claimable": done.made,
                "claimable_already": done.already,
                "left_alone": self._left_alone(),
                "trimmed": done.trimmed,
                "not_pending": self._missing,
                "dry_run": dry_run,
            }
            click.echo(json.dumps(found))
        elif not self.count:
            click.echo("nothing to do")
        elif dry_run:
            click.echo(f"{entries_of(self.count)} would be made claimable; nothing was changed")
        elif not self._tried:
            click.echo("nothing was changed")
        else:
            self._say_done()
        if self._missing or (self._asked.consumer is not None and not self._consumer_exists()):
            sys.exit(EXIT_FOUND)

    def _say_done(self) -> None:
        done = self._done
        were = "was" if done.already == 1 else "were"
        click.echo(f"made {entries_of(done.made)} claimable; {done.already} {were} so already")
        if self._left_alone():
            click.echo(f"left {self._left_alone()} alone: renewed, claimed or settled since they were shown")
        if done.trimmed:
            click.echo(f"left {done.trimmed} alone: trimmed from the stream, their lease decides")
        if done.made:
            seconds = self._settings.lease_ms / 4000
            click.echo(f"a replica takes them at its next scan: at its start, or within {seconds:g} s")

    def _list(self, entries: Sequence[PendingEntry]) -> None:
        if entries and not self.count:
            click.echo(HEADING)
        for each in entries:
            click.echo(as_line(each, self._settings.lease_ms))

    def _since_shown_ms(self) -> int:
        # What was renewed after it was shown has been idle for less than that.
        return int((time.monotonic() - self._shown_at) * 1000)

    def _left_alone(self) -> int:
        done = self._done
        return self.count - done.made - done.already - done.trimmed if self._tried else 0

    def how_far(self) -> str:
        """Return what is known of a replay that did not come to its end."""
        if not self._tried:
            return "nothing was changed"
        return (
            f"{self._done.made} of {entries_of(self.count)} were made claimable, the next {PAGE_SIZE}"
            " may have been; run it again for the others"
        )

    def _for_whom(self) -> str:
        consumer = self._asked.consumer
        return "" if consumer is None else f" for {shown_name(consumer)}"

    def _consumer_exists(self) -> bool:
        wanted = shown_name(self._asked.consumer or b"", plain=True)
        return any(each.name == wanted for each in self._source.consumers())
