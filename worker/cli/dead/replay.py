"""`worker dead replay`."""

import click

from worker.bootstrap.letters import letter_desk
from worker.cli.dead.closing import Work, ask, close_all, refuse_unasked, who
from worker.cli.dead.selection import Edit, changing, once_each, wanted_of
from worker.cli.shell import examples, settings_of_environment, translated
from worker.domain.letters import REPLAYED
from worker.status.letters import ClosingOutcome


@click.command(
    epilog=examples(
        "worker dead replay --reason failed --dry-run   # what would be added",
        "worker dead replay 1700000000000-0 --set price=61000",
        "worker dead replay --all --fresh --yes",
    )
)
@click.option("--set", "edits", type=Edit(), multiple=True, help="Edit a field: name=value; may be repeated.")
@click.option("--fresh", is_flag=True, help="Date the order from now, unless --set timestamp=... says when.")
@changing
@translated
def replay(
    *, ids: tuple[str, ...], reasons: tuple[str, ...], since_s: float | None, limit: int | None,
    everything: bool, dry_run: bool, yes: bool, as_json: bool,
    edits: tuple[tuple[str, str], ...], fresh: bool,
) -> None:  # fmt: skip
    """Add the orders of dead letters to the stream again, each once, and close the letters.

    An order keeps its id. Safe to interrupt and to run again.
    """
    wanted = wanted_of(ids, reasons, since_s, limit, everything=everything)
    edited = once_each(edits)
    refuse_unasked(yes=yes or dry_run)
    with letter_desk(settings_of_environment()) as desk:

        def close(letter_id: str) -> ClosingOutcome:
            return desk.replay(letter_id, who(), edits=edited, fresh=fresh, dry_run=dry_run)

        chosen = wanted.chosen(desk)
        if "order_id" in edited and len(chosen) > 1:
            raise click.UsageError("--set order_id=... is for one letter: several orders can't share an id")
        ask(f"replay {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        close_all(chosen, close, Work(REPLAYED, dry_run), as_json=as_json)
