"""Runs the commands: each parses, calls and prints, in a file of its own name.

Exit 0 done, 1 found something, 2 usage, 3 a server is away, 74 output could not be written, 78 configuration.
"""

from importlib import import_module
from typing import Any

import click

from worker import __version__
from worker.bootstrap.parts.signals import take_up_interrupts
from worker.cli.streams import open_what_is_closed, written

# What each is for, in the order in which a newcomer needs them. Each is in the file of its name.
PURPOSES = {
    "Run": ("migrate", "run"),
    "Look": ("status", "show", "pending", "audit"),
    "Mend": ("dead", "replay"),
    "Data in": ("submit", "bridge"),
    "Data out": ("export", "prune"),
}
COMMANDS = tuple(name for names in PURPOSES.values() for name in names)
# The first sentence of a command's help is shown whole.
LONGEST_SENTENCE = 200

FIRST_STEPS = """\b
First steps, with REDIS_URL and DATABASE_URL set:
  $ worker migrate               the tables, once
  $ worker run                   one replica; start as many as you like
  $ worker submit orders.jsonl   from another terminal, an order in each line
  $ worker status                whether anything needs you, and the command

Each command explains itself with an example: worker submit --help
"""


class OnDemand(click.Group):
    """Imports what is asked for: a replica has no use for the tables and bars of the other commands."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401  click's own signature
        """Run a command whatever its standard streams and its dispositions of signals are."""
        open_what_is_closed()
        take_up_interrupts()
        with written():
            return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's own signature
        """Return the names of all commands, for the help."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under what they are for, each with the first sentence of its help."""
        widest = max(map(len, COMMANDS))
        for purpose, names in PURPOSES.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(purpose):
                formatter.write_dl(
                    [(name.ljust(widest), command.get_short_help_str(LONGEST_SENTENCE))
                     for name, command in found if command is not None]
                )  # fmt: skip

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's
        """Return a command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"worker.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=OnDemand, epilog=FIRST_STEPS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worker")
def main() -> None:
    """Execute orders from a Redis stream, each once, and publish one result for each."""


__all__ = ["main"]
