"""`worker status`."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker import bootstrap
from worker.cli.shell import EXIT_UNREACHABLE, settings_of_environment, translated


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def status(*, as_json: bool) -> None:
    """Show the streams, the group and the database as they are now."""
    found = bootstrap.snapshot(settings_of_environment())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        Console().print(_status_table(found))
    if not all(server["connected"] for server in found.values()):
        sys.exit(EXIT_UNREACHABLE)


def _status_table(found: dict[str, dict[str, Any]]) -> Table:
    table = Table("server", "what", "value", title="orders worker")
    for server, details in found.items():
        for name, value in details.items():
            if name == "consumers":
                for consumer in value:
                    held = f"{consumer['pending']} pending, idle {consumer['idle_ms'] / 1000:.1f} s"
                    table.add_row(server, f"consumer {consumer['name']}", held)
            else:
                table.add_row(server, name.replace("_", " "), "-" if value is None else str(value))
    return table
