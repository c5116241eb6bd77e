"""`worker migrate`."""

import json
import sys

import click

from worker.bootstrap import commands
from worker.cli.shell import examples, settings_of_environment, translated
from worker.ops import configure_logs


@click.command(epilog=examples("worker migrate --dry-run   # where the schema stands", "worker migrate"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Say where the schema stands, change nothing.")
@translated
def migrate(*, as_json: bool, dry_run: bool) -> None:
    """Bring the database schema to this version; safe to run from many places at once."""
    settings = settings_of_environment()
    # Standard output has the answer alone.
    configure_logs(level=settings.log_level, form=settings.log_format, stream=sys.stderr)
    if not dry_run:
        commands.migrate(settings)
    state = commands.schema(settings)
    click.echo(json.dumps({"schema": state}) if as_json else f"schema: {state}")
