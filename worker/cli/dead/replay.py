"""`worker dead replay`."""

import time

import click

from worker import wire
from worker.bootstrap import commands
from worker.bootstrap.parts import spelling
from worker.cli.dead.closing import Work, ask, close_all, now, refuse_unasked, who
from worker.cli.dead.selection import Edit, changing, once_each, wanted_of
from worker.cli.shell import examples, settings_of_environment, translated
from worker.stream import Closing, DeadLetters, LetterState, StoredLetter


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
    settings = settings_of_environment()
    decoder = spelling.decoder_of(settings)

    def one(letters: DeadLetters, letter: StoredLetter) -> Closing | None:
        stamped = {"timestamp": str(int(time.time()))} if fresh else {}
        made = wire.replay_of(wire.read_letter(letter.fields), stamped | edited, decoder)
        if dry_run:
            return None
        # Not where the time was set by hand.
        fresh_now = fresh and "timestamp" not in edited
        state = LetterState("replayed", who(), now(), made.changed, fresh=fresh_now)
        return letters.replay(letter.letter_id, state, made.fields)

    with commands.dead_letters(settings) as letters:
        chosen = wanted.chosen(letters)
        if "order_id" in edited and len(chosen) > 1:
            raise click.UsageError("--set order_id=... is for one letter: several orders can't share an id")
        ask(f"replay {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        close_all(letters, chosen, one, Work("replayed", dry_run), as_json=as_json)
