"""`worker export`: writes old rows to files that can be checked, before they are pruned."""

import json
from datetime import datetime
from pathlib import Path

import click
import msgspec
from msgspec.structs import asdict

from worker.bootstrap.pruning import rows_to_export
from worker.cli.moment import before_options, moment_of
from worker.cli.progress import progress_bar
from worker.cli.shell import EXIT_INTERRUPTED, examples, leave_for, settings_of_environment, translated
from worker.cli.streams import leave
from worker.domain.errors import Outage
from worker.domain.evidence import Owner
from worker.pruning.archive import ROWS_A_FILE, ArchiveWriter, Place
from worker.store import RowsToExport
from worker.store.found import Found

PAGE = 1000


@click.command(
    epilog=examples(
        "worker export --older-than 90d /var/backups/orders/2026-01",
        "worker export --before 2026-01-01 january   # then worker prune --exported january",
    )
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@before_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def export(folder: Path, before: datetime | None, older_than_s: float | None, *, as_json: bool) -> None:
    """Write rows of this fleet's source, with their trades, to files in FOLDER, the oldest first.

    Each file has up to 100,000 rows, one JSON object in a line, amounts as text, exactly; manifest.json names
    the files with their SHA-256. A file is named there once it is whole: interrupted, run it again, and it
    goes on behind the last. `worker prune --exported FOLDER` lets only those rows go that are in such files,
    as they stand, and checks each file before. Nothing is changed in PostgreSQL.
    """
    limit = moment_of(before, older_than_s)
    settings = settings_of_environment()
    writer = ArchiveWriter.opened(folder, source=settings.fleet.source, before=limit)
    try:
        with rows_to_export(settings) as rows:
            carry_out(rows, writer)
    except KeyboardInterrupt:
        leave(EXIT_INTERRUPTED, f"interrupted after {writer.manifest.rows:,} rows; run it again")
    except Outage as outage:
        leave_for(outage, f"{writer.manifest.rows:,} rows were exported; run it again")
    files = len(writer.manifest.files)
    if as_json:
        click.echo(json.dumps({"rows": writer.manifest.rows, "files": files, "folder": str(folder)}))
    else:
        click.echo(f"{writer.manifest.rows:,} rows in {files} files")


def carry_out(rows: RowsToExport, writer: ArchiveWriter) -> None:
    """Write file after file, with a bar on standard error."""
    # Rows that are recorded later are none of them, by whatever clock somebody has said a time.
    before = min(writer.manifest.before, rows.now())
    last, held = writer.last, list[Found]()
    after = None if last is None else Owner(last.recorded_at, last.entry_id)
    with progress_bar() as bar:
        task = bar.add_task("rows", total=None)
        while page := rows.page(after, before, PAGE):
            held += page
            after = Owner(page[-1].recorded_at, page[-1].row.entry_id)
            if len(held) >= ROWS_A_FILE:
                write(writer, held)
                held = []
            bar.update(task, completed=writer.manifest.rows + len(held))
        if held:
            write(writer, held)
    writer.complete()


def write(writer: ArchiveWriter, rows: list[Found]) -> None:
    """Write one file of rows."""
    first, last = (Place(each.recorded_at, each.row.entry_id) for each in (rows[0], rows[-1]))
    writer.write([line(each) for each in rows], first, last)


def line(row: Found) -> bytes:
    """Return a row as a line: the columns of both tables under their names."""
    record = row.row
    labels = asdict(record.labels)
    said = {
        "recorded_at": row.recorded_at,
        "source": row.source,
        **{name: value for name, value in asdict(record).items() if name not in LEFT_OUT},
        **labels,
        "fingerprint": record.fingerprint.hex(),
    }
    return msgspec.json.encode(said) + b"\n"


# What says how a record was found, or stands under names of its own.
LEFT_OUT = {"labels", "replay_of", "unsourced", "stranger", "fingerprint"}
