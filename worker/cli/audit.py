"""`worker audit`: proves that nothing was lost or doubled, and mends what can be mended."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click
import msgspec
from rich.progress import TaskID

from worker.bootstrap.audit import Auditor, Wish, audit_of, told_apart_by_nothing
from worker.cli.dead.selection import Ago
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
from worker.domain.deliveries import entry_milliseconds
from worker.domain.errors import Outage
from worker.domain.evidence import Finding, Invariant, Remedy
from worker.domain.texts import escaped
from worker.domain.times import unix_ms_ago, utc_text_of_ms
from worker.settings import Settings

MENDED_TOGETHER = 200
MEANINGS = {
    Invariant.NO_ENTRY_LOST: "every entry is settled, dead, pending or undelivered",
    Invariant.ROW_OR_LETTER: "an entry has a row with a result, or a dead letter",
    Invariant.TRADES_ADD_UP: "trades add up to what its row says was filled",
    Invariant.ONE_RESULT: "one result for each row with an outcome, none without",
    Invariant.RESULT_AS_ROW: "a result says what its row says",
}
DONE = {
    Remedy.PUBLISH: "published",
    Remedy.REPUBLISH: "published again",
    Remedy.BURY: "buried",
    Remedy.REBURY: "buried again",
    Remedy.MARK: "marked",
    Remedy.READOPT: "made pending",
}


@click.command(
    epilog=examples(
        "worker audit --since 2h",
        "worker audit --repair --dry-run   # what would be mended",
        "worker audit --repair",
    )
)
@click.option(
    "--since",
    "since_s",
    type=Ago(),
    metavar="SPAN",
    help="Only orders that entered in the last 90, 10m, 2h or 1d.",
)
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option(
    "--republish",
    is_flag=True,
    help="With --repair: also give out again what was given out once and is gone.",
)
@click.option(
    "--unsourced",
    is_flag=True,
    help="Take rows without a source whose entries are gone for rows of this fleet.",
)
@click.option("--dry-run", is_flag=True, help="With --repair: say what would be mended, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per finding, then the summary.")
@translated
def audit(
    since_s: float | None, *, repair: bool, republish: bool, unsourced: bool, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    """Prove for all that can still be seen that no order was lost, doubled or altered.

    Walks through the results, the dead letters, the orders and the rows, and names each order or entry that
    breaks an invariant. Orders that are being worked on are left out, so it may run beside replicas at any
    time. Memory stays as it is however much there is; what must be remembered goes to a file in TMPDIR.

    With --repair it publishes results that were committed and never published, buries what has a row but no
    dead letter, sets lost marks, and makes entries pending again that are in no store. It never adds an order
    under a new id, and takes nothing out of a replica's hands. Results that were published once and are gone
    since (deleted, or lost with a part of Redis) go out again only with --republish: readers may have read
    them.

    Safe to interrupt, to repeat, and to run several times at once. Exit 0: nothing is wrong, or all was
    mended; 1: something is left for a person.
    """
    if (republish or dry_run) and not repair:
        raise click.UsageError("--republish and --dry-run go with --repair: worker audit --repair --dry-run")
    settings = settings_of_environment()
    report = Report(as_json=as_json, would=dry_run, republish=republish)
    try:
        since_ms = unix_ms_ago(since_s, time.time())
        carry_out(settings, Wish(since_ms, repair and not dry_run, republish, unsourced), report)
    except KeyboardInterrupt:
        leave(EXIT_INTERRUPTED, f"interrupted after {report.how_far()}; run it again")
    except Outage as outage:
        leave_for(outage, f"{report.how_far()}; run it again")
    if report.left:
        sys.exit(EXIT_FOUND)


def carry_out(settings: Settings, wish: Wish, report: "Report") -> None:
    """Audit with a bar on standard error, and report on standard output."""
    with progress_bar() as bar:
        shown = Bar(bar.add_task("audit", total=None), bar.update)
        with audit_of(settings, wish, shown.show) as auditor:
            shown.auditor = auditor
            if auditor.streams > 1:
                say(f"warning: {told_apart_by_nothing(settings, auditor.streams)}")
            report.tell(auditor)
            auditor.finish()
    report.summarise(auditor)


class Bar:
    """Shows which store is walked through, and keeps a repair announced meanwhile."""

    def __init__(self, task: TaskID, update: Any) -> None:  # noqa: ANN401  rich's own signature
        self._task = task
        self._update = update
        self.auditor: Auditor | None = None

    def show(self, store: str, done: int, total: int) -> None:
        """Show how far it is; totals are about right."""
        self._update(self._task, description=store, completed=done, total=max(done, total))
        if self.auditor is not None and self.auditor.remedies is not None:
            self.auditor.remedies.keep_on()


class Report:
    """Tells findings as they are proven, each with what was done about it; then what was seen."""

    def __init__(self, *, as_json: bool, would: bool, republish: bool) -> None:
        self._as_json = as_json
        self._would = would
        self._republish = republish
        self._counts = Counter[Invariant]()
        self._mended = self._mendable = 0

    @property
    def left(self) -> int:
        """How many findings are not mended."""
        return self._counts.total() - self._mended

    def tell(self, auditor: Auditor) -> None:
        """Go through all findings, mending as it goes."""
        for batch in _batches(auditor.audit.findings()):
            mended = [False] * len(batch) if auditor.remedies is None else auditor.remedies.apply(batch)
            for finding, done in zip(batch, mended, strict=True):
                self._counts[finding.invariant] += 1
                self._mended += done
                self._mendable += finding.can_be_mended(republish=self._republish)
                self._say(finding, done=done)

    def _say(self, finding: Finding, *, done: bool) -> None:
        if self._as_json:
            click.echo(json.dumps({"finding": msgspec.to_builtins(finding), "mended": done}))
            return
        whose = f"order {finding.order_id or '-'}  entry {finding.entry_id or '-'}"
        click.echo(
            escaped(f"{finding.invariant}  {whose}  {finding.what}{self._mending(finding, done=done)}")
        )

    def _mending(self, finding: Finding, *, done: bool) -> str:
        if finding.remedy is None:
            return ""
        if done:
            return f": {DONE[finding.remedy]}"
        if finding.again and not self._republish:
            return ": --repair --republish gives it out again"
        return f": would be {DONE[finding.remedy]}" if self._would else ""

    def how_far(self) -> str:
        """Return what has been told so far."""
        return f"{self._counts.total()} findings, {self._mended} mended"

    def summarise(self, auditor: Auditor) -> None:
        """Print what was seen, what was not, and what it comes to."""
        seen = auditor.audit.seen
        limits = auditor.audit.range
        summary = {
            "findings": dict(sorted(self._counts.items())),
            "mended": self._mended,
            "seen": msgspec.to_builtins(seen),
            "range": {
                "since": _time(limits.since_ms),
                "orders_from": _from(limits.orders.first),
                "results_from": _from(limits.results.first),
                "results_trimmed": limits.results_trimmed,
            },
        }
        if self._as_json:
            click.echo(json.dumps({"summary": summary}))
            return
        click.echo(
            f"seen: {seen.orders} orders ({seen.in_flight} in flight, {seen.duplicates} duplicates),"
            f" {seen.rows} rows, {seen.results} results, {seen.letters} dead letters"
        )
        for line in _out_of_range(auditor):
            click.echo(line)
        if not self._counts:
            click.echo("nothing is wrong: I1 to I5 hold for all that was seen")
            return
        for invariant, count in sorted(self._counts.items()):
            click.echo(f"{invariant} ({MEANINGS[invariant]}): {count} found")
        would = f", {self._mendable} of them would be mended" if self._would else ""
        click.echo(f"{self._mended} mended, {self.left} left{would}")


def _out_of_range(auditor: Auditor) -> Iterator[str]:
    seen, limits = auditor.audit.seen, auditor.audit.range
    if limits.since_ms:
        yield f"out of range: what entered before {_time(limits.since_ms)} (--since)"
    if seen.trimmed:
        yield f"out of range: the entries of {seen.trimmed} rows, which are no more on the orders stream"
    if seen.results_out_of_range:
        yield (
            f"out of range: {seen.results_out_of_range} rows whose results may have been trimmed,"
            f" those before {limits.results.first}"
        )
    if seen.letters_out_of_range:
        yield (
            f"out of range: {seen.letters_out_of_range} DEAD rows whose dead letters may have been closed,"
            " and let go since (WORKER_LETTERS_KEEP_S)"
        )
    if seen.pruned:
        yield (
            f"out of range: {seen.pruned} results whose rows were pruned:"
            " whether they said the same is not known any more"
        )
    if seen.redone:
        yield (
            "note: rows executed again after their results were published, to the same outcome:"
            f" {seen.redone}"
        )
    if seen.unsteady:
        yield f"note: orders left out, since they changed whenever they were looked at: {seen.unsteady}"


def _batches(findings: Iterable[Finding]) -> Iterator[Sequence[Finding]]:
    source = iter(findings)
    while batch := list(islice(source, MENDED_TOGETHER)):
        yield batch


def _from(entry_id: str) -> str | None:
    return _time(entry_milliseconds(entry_id))


def _time(at_ms: int) -> str | None:
    return utc_text_of_ms(at_ms) if at_ms else None
