"""The commands: parse, call, print. Exit 0 done, 1 found something, 2 usage, 3 a server is away, 78 configuration."""

import click

from worker import __version__
from worker.cli.audit import audit
from worker.cli.bridge import bridge
from worker.cli.dead import dead
from worker.cli.life import show
from worker.cli.overview import status
from worker.cli.pending import pending
from worker.cli.replay import replay
from worker.cli.service import migrate, run
from worker.cli.submission import submit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worker")
def main() -> None:
    """Execute orders from a Redis stream, each once, and publish one result for each."""


for command in (run, migrate, submit, status, pending, replay, show, dead, audit, bridge):
    main.add_command(command)

__all__ = ["main"]
