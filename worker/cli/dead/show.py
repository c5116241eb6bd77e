"""`worker dead show`."""

import json

import click

from worker.bootstrap import commands
from worker.bootstrap.parts import spelling
from worker.cli.dead.closing import GONE
from worker.cli.dead.lines import described, originals, what_next
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
    settings = settings_of_environment()
    with commands.dead_letters(settings) as letters:
        letter = letters.find(letter_id)
    if letter is None:
        leave(EXIT_FOUND, f"{letter_id}: {GONE}")
    shown = described(letter) | {"fields": originals(letter)}
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        if name != "fields":
            spelled = value if isinstance(value, str) else json.dumps(value)
            click.echo(f"{escaped(name):<15} {escaped(spelled)}")
    for name, value in originals(letter):
        click.echo(f"  {escaped(name)} = {escaped(value)}")
    if letter.closed is None:
        click.echo(what_next(letter, spelling.decoder_of(settings)))
