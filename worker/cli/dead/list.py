"""`worker dead list`."""

import json

import click

from worker.bootstrap.letters import letter_desk
from worker.cli.dead.lines import in_list, line_of
from worker.cli.dead.selection import Meant, selecting
from worker.cli.shell import examples, settings_of_environment, translated
from worker.status.letters import STATES


@click.command(
    "list",
    epilog=examples("worker dead list --reason failed --since 2h", "worker dead list --state all --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--closed", is_flag=True, help="Those that were replayed or discarded.")
@click.option("--state", type=click.Choice(STATES), show_default="open", help="Those in this state.")
@selecting
@translated
def list_letters(
    *,
    as_json: bool,
    closed: bool,
    state: str | None,
    reasons: tuple[str, ...],
    since_s: float | None,
    limit: int | None,
) -> None:
    """List dead letters, oldest first; those that are open, unless asked otherwise.

    Those of other fleets on the same stream say so at the end of their line, and are closed with the settings
    of their own.
    """
    if closed and state not in {None, "closed"}:
        raise click.UsageError(f"either --closed or --state {state}")
    wanted = Meant((), reasons, since_s, limit, "closed" if closed else state or "open")
    with letter_desk(settings_of_environment()) as desk:
        found = wanted.among(desk)
        if as_json:
            click.echo(json.dumps({"letters": [in_list(letter) for letter in found]}, indent=2))
            return
        for letter in found:
            click.echo(line_of(letter))
