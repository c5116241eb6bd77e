"""`worker dead show`."""

import json

import click

from worker.bootstrap.letters import GONE, letter_desk
from worker.cli.dead.lines import described, in_full, what_next
from worker.cli.dead.selection import LetterId
from worker.cli.shell import EXIT_FOUND, examples, settings_of_environment, translated
from worker.cli.streams import leave
from worker.domain.texts import escaped


@click.command(epilog=examples("worker dead show 1700000000000-0"))
@click.argument("letter_id", metavar="ID", type=LetterId())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def show(letter_id: str, *, as_json: bool) -> None:
    """Show one dead letter with its original fields."""
    with letter_desk(settings_of_environment()) as desk:
        letter = desk.in_full(letter_id)
    if letter is None:
        leave(EXIT_FOUND, f"{letter_id}: {GONE}")
    if as_json:
        click.echo(json.dumps(in_full(letter), indent=2))
        return
    for name, value in described(letter.line).items():
        spelled = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{escaped(name):<15} {escaped(spelled)}")
    for field in letter.fields:
        click.echo(f"  {escaped(field.name)} = {escaped(field.value)}")
    for line in what_next(letter):
        click.echo(line)
