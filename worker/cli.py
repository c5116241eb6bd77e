"""The commands: parse, call, print. Exit 0 done, 1 found something, 2 usage, 3 a server is away, 78 configuration."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TextIO

import click
import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from worker import __version__, bootstrap, wire
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Stopped
from worker.ops import configure_logs
from worker.settings import Settings, read_settings, unknown_names

log = structlog.get_logger(__name__)

EXIT_FOUND = 1
EXIT_UNREACHABLE = 3
EXIT_CONFIGURATION = 78

URLS = {"redis": "REDIS_URL", "postgresql": "DATABASE_URL"}

SUBMIT_CHUNK = 500

P = ParamSpec("P")


def _leave(code: int, text: str) -> NoReturn:
    for line in text.splitlines():
        click.echo(f"worker: {line}", err=True)
    sys.exit(code)


def _translated(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors a person can do something about into one line and an exit code."""

    @wraps(command)
    def translated(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigurationError as error:
            _leave(EXIT_CONFIGURATION, str(error))
        except AccessDenied as error:
            _leave(EXIT_CONFIGURATION, f"{URLS[error.server]}: access refused: {error.reason}")
        except Outage as error:
            _leave(EXIT_UNREACHABLE, str(error))
        except Stopped as error:
            _leave(bootstrap.EXIT_STOPPED, str(error))

    return translated


def _settings() -> Settings:
    settings = read_settings(os.environ)
    for warning in unknown_names(os.environ):
        click.echo(f"worker: warning: {warning}", err=True)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worker")
def main() -> None:
    """Execute orders from a Redis stream, each once, and publish one result for each."""


@main.command()
@_translated
def run() -> None:
    """Run one replica until SIGTERM or SIGINT."""
    settings = _settings()
    configure_logs(level=settings.log_level, form=settings.log_format)
    bootstrap.run(settings)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Say where the schema stands, change nothing.")
@_translated
def migrate(*, as_json: bool, dry_run: bool) -> None:
    """Bring the database schema to this version; safe to run from many places at once."""
    settings = _settings()
    if not dry_run:
        bootstrap.migrate(settings)
    state = bootstrap.schema(settings)
    click.echo(json.dumps({"schema": state}) if as_json else f"schema: {state}")


@main.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Check the lines, add nothing.")
@_translated
def submit(file: TextIO, *, as_json: bool, dry_run: bool) -> None:
    """Add the orders in FILE (JSON lines, `-` for standard input) to the orders stream.

    An order is added as it is; one without an order id is a new order each time it is submitted. A bad line
    is named and passed over.
    """
    settings = _settings()
    faults: list[str] = []
    added = 0
    with bootstrap.submitter(settings) as target, _progress() as progress:
        task = progress.add_task("submitting", total=None)
        for chunk in _chunks(_orders(file, faults)):
            if not dry_run:
                try:
                    target.add(chunk)
                except Outage as outage:
                    _leave(
                        EXIT_UNREACHABLE,
                        f"{outage}\n{added} orders were added; of the {len(chunk)} after them any part may have been",
                    )
            added += len(chunk)
            progress.update(task, completed=added)
        progress.update(task, total=added)
    for fault in faults:
        click.echo(f"worker: {fault}", err=True)
    verb = "checked" if dry_run else "added"
    if as_json:
        click.echo(json.dumps({verb: added, "refused": len(faults), "stream": settings.orders_stream}))
    else:
        click.echo(f"{verb} {added} orders, refused {len(faults)} lines, stream {settings.orders_stream}")
    if faults:
        sys.exit(EXIT_FOUND)


def _orders(file: Iterable[str], faults: list[str]) -> Iterator[dict[str, str]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are spelled: an amount must not pass through a float.
            yield wire.order_fields(json.loads(line, parse_float=str, parse_int=str))
        except (ValueError, RecursionError) as error:
            faults.append(f"line {number}: {error}")


def _chunks(orders: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    chunk = []
    for order in orders:
        chunk.append(order)
        if len(chunk) == SUBMIT_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@_translated
def status(*, as_json: bool) -> None:
    """Show the streams, the group and the database as they are now."""
    found = bootstrap.snapshot(_settings())
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
