"""`worker migrate`."""

import json

import click

from worker.bootstrap import commands
from worker.cli.shell import examples, settings_of_environment, translated
from worker.domain.database_state import SchemaState
from worker.domain.errors import SchemaBehind


@click.command(
    epilog=examples(
        "worker migrate --dry-run   # where the schema stands",
        "worker migrate",
        "worker migrate --await 600   # beside another that migrates",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Say where the schema stands, change nothing.")
@click.option(
    "--await",
    "await_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Change nothing, wait until another has brought the schema to this version, so long at most.",
)
@translated
def migrate(*, as_json: bool, dry_run: bool, await_s: float | None) -> None:
    """Bring the database schema to this version; safe to run from many places at once."""
    if dry_run and await_s is not None:
        raise click.UsageError("--dry-run looks once, --await until the schema is there: give one of them")
    settings = settings_of_environment()
    if await_s is not None:
        commands.await_schema(settings, await_s)
    elif not dry_run:
        commands.migrate(settings)
    state = commands.schema(settings)
    click.echo(json.dumps({"schema": state}) if as_json else f"schema: {state}")
    if state == SchemaState.BEHIND.value and not dry_run:
        raise SchemaBehind(
            "the schema was migrated, and another session finds it behind:"
            " DATABASE_URL leads to more than one server or schema"
        )
