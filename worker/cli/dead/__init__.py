"""`worker dead list`, `show`, `replay` and `discard`: one file each."""

import click

from worker.cli.dead.discard import discard
from worker.cli.dead.list import list_letters
from worker.cli.dead.replay import replay
from worker.cli.dead.show import show
from worker.cli.shell import examples


@click.group(
    epilog=examples(
        "worker dead list",
        "worker dead show 1700000000000-0",
        "worker dead replay 1700000000000-0 --set price=61000",
    )
)
def dead() -> None:
    """List, show, replay and discard dead letters."""


for command in (list_letters, show, replay, discard):
    dead.add_command(command)

__all__ = ["dead"]
