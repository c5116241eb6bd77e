"""`worker prune`: lets rows go whose orders nobody can send, deliver or ask about any more."""

import json
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import click

from worker.bootstrap.pruning import MOST_COUNTED, Pruner, pruner
from worker.cli.moment import before_options, moment_of
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
from worker.domain.pruning import Refusal, Step
from worker.domain.texts import escaped
from worker.domain.times import utc_text

WHY = {
    Refusal.WINDOW: "may be sent again, and must be known as the same (WORKER_DEDUPE_WINDOW_S)",
    Refusal.SUBMITTED: "were handed to a venue, and have no outcome yet",
    Refusal.LETTER_OPEN: "have a dead letter that is open, or one of the same order is: worker dead list",
    Refusal.REPLAYED: "have a dead letter, or one of the same order is, whose replay is still on the stream",
    Refusal.IN_FLIGHT: "have an entry that is pending, or waits to be read",
    Refusal.UNKNOWN: "have a result of which nobody can know whether it went out: worker audit --repair",
    Refusal.MARKED: "have a settled mark that is still kept",
    Refusal.UNSETTLED: "have no settled mark though marks of their age are kept: worker audit",
    Refusal.UNSOURCED: "have no source, and there is more than one: nobody can tell whose they are",
    Refusal.STRANGE: "name entries that no stream can have given",
    Refusal.NOT_EXPORTED: "are in no file of --exported as they stand",
    Refusal.CHANGED: "changed, came again, or went otherwise, while they were looked at",
    Refusal.REFERENCED: "are referenced by rows of another table, whose constraint does not let them go",
    Refusal.REFUSED: "may not be deleted: PostgreSQL refuses it, as a trigger does that raises",
}
NOBODY_KNOWS = (
    "nobody can know now which entries may come again: without the orders stream and its group,"
    " where two streams are worked on as one source, and while an entry that was trimmed is asked about;"
    " see worker status"
)


@click.command(
    epilog=examples(
        "worker prune --older-than 90d --dry-run   # what would go, and why the rest stays",
        "worker prune --before 2026-01-01",
        "worker prune --older-than 90d --exported /var/backups/orders",
    )
)
@before_options
@click.option(
    "--exported",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Only what `worker export` has written there, in files that are as they were.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def prune(
    before: datetime | None,
    older_than_s: float | None,
    exported: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let old rows go, with their trades, of this fleet's source, the oldest first.

    A row goes only where its order can't come again but as a new one: its entry is older than all that Redis
    keeps or any group may be given, its settled mark was dropped, its dead letter is closed and what replays
    that worked off, and WORKER_DEDUPE_WINDOW_S has passed since it was recorded, or since its order came
    again. All others stay, and it is said why. An order that is sent again after its row went is executed as
    a new one.

    Rows go 500 at a time, each time in a transaction of its own, and are counted by day in the table
    order_prunings, so that `worker audit` calls none of them lost. It may run beside replicas, several times
    at once, and be interrupted: run it again, and it goes on with what is left. Only this version's replicas
    may work meanwhile. Exit 1: some that are old enough have to stay.
    """
    limit = moment_of(before, older_than_s)
    report = Report(limit, dry_run=dry_run)
    try:
        with pruner(settings_of_environment(), exported) as opened:
            carry_out(opened, report)
    except KeyboardInterrupt:
        leave(EXIT_INTERRUPTED, f"interrupted after {report.how_far()}; run it again")
    except Outage as outage:
        leave_for(outage, *([f"{report.how_far()}; run it again"] if report.pruned else []))
    report.show(as_json=as_json)
    if report.why is not None:
        say(escaped(f"one that may not be deleted: {report.why}"))
    if report.refused or report.until is None:
        sys.exit(EXIT_FOUND)


def carry_out(opened: Pruner, report: "Report") -> None:
    """Go through all pages, with a bar on standard error."""
    with progress_bar() as bar:
        task = bar.add_task("rows", total=None)
        more = True
        while more:
            step = opened.prune.page(report.before, dry_run=report.dry_run)
            report.take(step)
            bar.update(task, completed=report.pruned)
            more = step.more
    if report.until is not None:
        report.refused[Refusal.WINDOW] = opened.younger(report.until, report.before)
        report.refused = +report.refused


class Report:
    """What has been done so far."""

    def __init__(self, before: datetime, *, dry_run: bool) -> None:
        self.before = before
        self.dry_run = dry_run
        self.pruned = 0
        self.refused = Counter[Refusal]()
        self.until: datetime | None = None
        self.why: str | None = None
        self._through: datetime | None = None

    def take(self, step: Step) -> None:
        """Add what came of a page."""
        self.pruned += step.pruned
        self.refused.update(step.refused)
        self.why = self.why or step.why
        self.until, self._through = step.until, step.through or self._through

    def how_far(self) -> str:
        """Return what is done, in words."""
        would = " would be" if self.dry_run else ""
        through = f", up to {utc_text(self._through)}" if self._through else ""
        return f"{self.pruned:,} rows{would} pruned{through}"

    def show(self, *, as_json: bool) -> None:
        """Print it."""
        if as_json:
            found = {
                "pruned": self.pruned,
                "refused": {str(reason): count for reason, count in sorted(self.refused.items())},
                "before": utc_text(self.before),
                "until": None if self.until is None else utc_text(self.until),
                "dry_run": self.dry_run,
            }
            click.echo(json.dumps(found))
            return
        click.echo(self.how_far())
        if self.until is None:
            click.echo(NOBODY_KNOWS)
        for reason, count in sorted(self.refused.items()):
            least = "at least " if (reason, count) == (Refusal.WINDOW, MOST_COUNTED) else ""
            click.echo(f"{least}{count:,} stay: they {WHY[reason]}")
