"""`worker run` and `worker migrate`."""

import json
import sys

import click
import structlog

from worker.bootstrap import commands, replica, running
from worker.cli.shell import settings_of_environment, translated
from worker.domain.errors import WorkerError
from worker.ops import configure_logs

log = structlog.get_logger(__name__)


@click.command()
@translated
def run() -> None:
    """Run one replica until SIGTERM or SIGINT."""
    settings = settings_of_environment()
    configure_logs(level=settings.log_level, form=settings.log_format)
    try:
        running.run(settings)
    except WorkerError:
        raise
    except Exception:
        # A bug: one line in the form of all others, and what is in hand is left to be claimed.
        log.exception("crashed, others take over after the lease")
        sys.exit(replica.EXIT_STOPPED)


@click.command()
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
