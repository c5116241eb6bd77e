"""`worker dead discard`."""

import click

from worker.bootstrap.letters import letter_desk
from worker.cli.dead.closing import Work, ask, close_all, refuse_unasked, who
from worker.cli.dead.selection import changing, wanted_of
from worker.cli.shell import examples, settings_of_environment, translated
from worker.domain.letters import DISCARDED
from worker.status.letters import ClosingOutcome


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

    with letter_desk(settings_of_environment()) as desk:

        def close(letter_id: str) -> ClosingOutcome:
            return desk.discard(letter_id, who(), dry_run=dry_run)

        chosen = wanted.chosen(desk)
        ask(f"discard {len(chosen)} dead letters?", yes=yes or dry_run or not chosen)
        close_all(chosen, close, Work(DISCARDED, dry_run), as_json=as_json)
