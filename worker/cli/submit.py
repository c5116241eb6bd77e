"""`worker submit`."""

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import click

from worker import wire
from worker.bootstrap import commands
from worker.cli.progress import progress_bar
from worker.cli.shell import (
    EXIT_FOUND,
    EXIT_INTERRUPTED,
    examples,
    leave_for,
    settings_of_environment,
    translated,
)
from worker.cli.streams import leave, say
from worker.domain.errors import Outage
from worker.domain.texts import escaped

SUBMIT_CHUNK = 500
MOST_LINE_BYTES = 16_777_216
FAULTS_NAMED = 100
FAULT_SHOWN = 200


@click.command(
    epilog=examples(
        "worker submit orders.jsonl --dry-run   # checks each line, adds none",
        'echo \'{"order_id": "a-1", "symbol": "BTCUSD", "side": "BUY", "quantity": "1"}\' | worker submit -',
    )
)
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--dry-run", is_flag=True, help="Check the lines, add nothing.")
@translated
def submit(file: BinaryIO, *, as_json: bool, dry_run: bool) -> None:
    """Add the orders in FILE (JSON lines, `-` for standard input) to the orders stream.

    An order is added as it is; one without an order id is a new order each time it is submitted. A bad line
    is named and passed over.
    """
    settings = settings_of_environment()
    faults = Faults()
    added = trying = 0
    with commands.submitter(settings) as target, progress_bar() as progress:
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
            leave_for(outage, _how_far(added, trying))
        except KeyboardInterrupt:
            progress.stop()
            leave(EXIT_INTERRUPTED, f"interrupted\n{_how_far(added, trying)}")
        progress.update(task, total=added)
    for fault in faults.named:
        say(f"{fault}")
    if faults.count > len(faults.named):
        say(f"and {faults.count - len(faults.named)} lines more")
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
    for number, line in enumerate(_lines(file), start=1):
        if len(line) > MOST_LINE_BYTES:
            faults.note(number, f"longer than {MOST_LINE_BYTES} bytes, nothing is read after it")
            return
        if not line.strip():
            continue
        try:
            fields = wire.order_fields(line)
            "".join(chain.from_iterable(fields.items())).encode()
        except UnicodeError:
            faults.note(number, "not UTF-8")
        except RecursionError:
            faults.note(number, "nested too deeply")
        except ValueError as error:
            faults.note(number, str(error))
        else:
            yield fields


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # By hand: a file without line breaks must not be read into memory whole.
    # Some editors begin a file with the mark of its byte order, which is no part of its first line.
    yield file.readline(len(BOM_UTF8) + MOST_LINE_BYTES + 1).removeprefix(BOM_UTF8)
    yield from iter(lambda: file.readline(MOST_LINE_BYTES + 1), b"")


def _chunks(orders: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    chunk = []
    for order in orders:
        chunk.append(order)
        if len(chunk) == SUBMIT_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
