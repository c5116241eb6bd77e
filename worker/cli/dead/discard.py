"""`worker dead discard`."""

import click

from worker.bootstrap import commands
from worker.cli.dead.closing import Work, ask, close_all, now, refuse_unasked, who
from worker.cli.dead.selection import changing, wanted_of
from worker.cli.shell import examples, settings_of_environment, translated
from worker.stream import Closing, DeadLetters, LetterState, StoredLetter


@click.command(
    epilog=examples(
        "worker dead discard 1700000000000-0", "worker dead discard --reason undecodable --since 1d --dry-run"
    )
)
@changing
@translated
def discard(
    *, ids: tuple[str, ...], reasons: tuple[str, ...], since_s: float | None, limit: int | None,
    everything: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Close dead letters without adding anything; they stay to be seen, and can't be replayed any more."""
    wanted = wanted_of(ids, reasons, since_s, limit, everything=everything)
    refuse_unasked(yes=yes or dry_run)

    def one(letters: DeadLetters, letter: StoredLetter) -> Closing | None:
        return None if dry_run else letters.discard(letter.letter_id, LetterState("discarded", who(), now()))

    with commands.dead_letters(settings_of_environment()) as letters:
        chosen = wanted.chosen(letters)
        ask(f"discard {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        close_all(letters, chosen, one, Work("discarded", dry_run), as_json=as_json)
