"""What the showcase prints at its end."""

from collections.abc import Sequence
from dataclasses import fields

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from local.directory import LOOPBACK
from local.replicas import Replica
from local.tally import Counts, Tally

# Zero in a run without faults, and then no news.
QUIET_ROWS = ("answered_again", "handed_back")


def show_tally(tally: Tally, console: Console) -> None:
    """Print the figures of the run, and one line that says whether they add up."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("orders")
    for heading in ("all", *(f"replica {number}" for number, _ in enumerate(tally.replicas, start=1))):
        table.add_column(heading, justify="right")
    for field in fields(Counts):
        figures = [getattr(counts, field.name) for counts in (tally.total, *tally.replicas)]
        if any(figures) or field.name not in QUIET_ROWS:
            table.add_row(field.name.replace("_", " "), *(f"{figure:,}" for figure in figures))
    table.add_section()
    table.add_row("results on the stream", f"{tally.results:,}")
    table.add_row("pending", _known(tally.queue.pending))
    table.add_row("orders per second", f"{tally.orders_per_second:,.0f}")
    console.print(table)
    if tally.left_by_earlier_run:
        console.print(f"{tally.left_by_earlier_run:,} of them were left by an earlier run.")
    for fault in tally.faults():
        console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    if not tally.faults():
        console.print(_proof(tally), style="green", highlight=False, soft_wrap=True)


def show_addresses(team: Sequence[Replica], console: Console) -> None:
    """Print where each replica answers, and where its log is."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("replica", "pages", "log"):
        table.add_column(heading, overflow="fold")
    for replica in team:
        table.add_row(replica.name, f"http://{LOOPBACK}:{replica.port}/", str(replica.log))
    console.print(table)


def _proof(tally: Tally) -> str:
    total = tally.total
    return (
        f"All {total.settled:,} orders are settled: {total.executed:,} executed with one result each,"
        f" {total.duplicate:,} duplicates, {total.dead:,} dead; nothing is pending."
    )


def _known(figure: int | None) -> str:
    return "unknown" if figure is None else f"{figure:,}"
