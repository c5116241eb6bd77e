"""The commands: parse, call, print. Exit 0 done, 1 found something, 2 usage, 3 a server is away, 78 configuration."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from itertools import chain
from typing import Any, BinaryIO, NoReturn, ParamSpec

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
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Stopped, WorkerError
from worker.ops import configure_logs, escaped
from worker.settings import Settings, read_settings, unknown_names

log = structlog.get_logger(__name__)

EXIT_FOUND = 1
EXIT_UNREACHABLE = 3
EXIT_CONFIGURATION = 78
EXIT_INTERRUPTED = 130

URLS = {"redis": "REDIS_URL", "postgresql": "DATABASE_URL"}

SUBMIT_CHUNK = 500
MOST_LINE_BYTES = 16_777_216
FAULTS_NAMED = 100
FAULT_SHOWN = 200

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
    try:
        bootstrap.run(settings)
    except WorkerError:
        raise
    except Exception:
        # A bug: one line in the form of all others, and what is in hand is left to be claimed.
        log.exception("crashed, others take over after the lease")
        sys.exit(bootstrap.EXIT_STOPPED)


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
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Check the lines, add nothing.")
@_translated
def submit(file: BinaryIO, *, as_json: bool, dry_run: bool) -> None:
    """Add the orders in FILE (JSON lines, `-` for standard input) to the orders stream.

    An order is added as it is; one without an order id is a new order each time it is submitted. A bad line
    is named and passed over.
    """
    settings = _settings()
    faults = Faults()
    added = trying = 0
    with bootstrap.submitter(settings) as target, _progress() as progress:
        task = progress.add_task("submitting", total=None)
        try:
            for chunk in _chunks(_orders(file, faults)):
                trying = len(chunk)
                if not dry_run:
                    target.add(chunk)
                added, trying = added + trying, 0
                progress.update(task, completed=added)
        except Outage as outage:
            progress.stop()
            _leave(EXIT_UNREACHABLE, f"{outage}\n{_how_far(added, trying)}")
        except KeyboardInterrupt:
            progress.stop()
            _leave(EXIT_INTERRUPTED, f"interrupted\n{_how_far(added, trying)}")
        progress.update(task, total=added)
    for fault in faults.named:
        click.echo(f"worker: {fault}", err=True)
    if faults.count > len(faults.named):
        click.echo(f"worker: and {faults.count - len(faults.named)} lines more", err=True)
    verb = "checked" if dry_run else "added"
    if as_json:
        click.echo(json.dumps({verb: added, "refused": faults.count, "stream": settings.orders_stream}))
    else:
        click.echo(f"{verb} {added} orders, refused {faults.count} lines, stream {settings.orders_stream}")
    if faults.count:
        sys.exit(EXIT_FOUND)


class Faults:
    """The lines that were refused: all counted, the first ones named."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []

    def note(self, number: int, why: str) -> None:
        """Count a line. What it says itself may stand in the reason: that is escaped and shortened."""
        self.count += 1
        if len(self.named) < FAULTS_NAMED:
            self.named.append(f"line {number}: {escaped(why[:FAULT_SHOWN])}")


def _how_far(added: int, trying: int) -> str:
    more = f"; of the {trying} after them any part may have been" if trying else ""
    return f"{added} orders were added{more}"


def _orders(file: BinaryIO, faults: Faults) -> Iterator[dict[str, str]]:
    # By hand: a file without line breaks must not be read into memory whole.
    for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES + 1), b""), start=1):
        if len(line) > MOST_LINE_BYTES:
            faults.note(number, f"longer than {MOST_LINE_BYTES} bytes, nothing is read after it")
            return
        if not line.strip():
            continue
        try:
            # Numbers stay as they are spelled: an amount must not pass through a float.
            order = json.loads(
                line.decode(), parse_float=str, parse_int=str, object_pairs_hook=_without_repeats
            )
            fields = wire.order_fields(order)
            "".join(chain.from_iterable(fields.items())).encode()
        except UnicodeError:
            faults.note(number, "not UTF-8")
        except RecursionError:
            faults.note(number, "nested too deeply")
        except ValueError as error:
            faults.note(number, str(error))
        else:
            yield fields


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


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
