"""Rows that were written to files: JSON lines, a checksum for each file, a manifest that names them all."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.errors import ConfigurationError
from worker.domain.pruning import Candidate

MANIFEST = "manifest.json"
FORM = 1
ROWS_A_FILE = 100_000
_PIECE = 1 << 20
_UNFINISHED = ".unfinished"


class Place(Struct, frozen=True):
    """Where a row stands among all: by when it was recorded, then by its entry."""

    recorded_at: datetime
    entry_id: str

    @property
    def order(self) -> tuple[datetime, str]:
        """What places compare by."""
        return self.recorded_at, self.entry_id


class File(Struct, frozen=True):
    """One file of the archive: as many lines as `rows`, the first and the last row, and its SHA-256."""

    name: str
    rows: int
    bytes: int
    sha256: str
    first: Place
    last: Place


class Manifest(Struct, frozen=True):
    """All files of an archive, in order: the rows of one source that were recorded before a time.

    It is not `complete` where the export was interrupted; what its files hold is whole all the same.
    """

    form: int
    source: str
    before: datetime
    complete: bool
    files: tuple[File, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(each.rows for each in self.files)


class _Written(Struct, frozen=True):
    """What tells a row in a line; the line has more."""

    recorded_at: datetime
    entry_id: str
    order_id: str
    status: str


class ArchiveWriter:
    """Writes an archive, a file at a time; what is written is named by the manifest only once it is whole."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self.manifest = manifest

    @classmethod
    def opened(cls, folder: Path, *, source: str, before: datetime) -> "ArchiveWriter":
        """Begin an archive in a folder, or go on with one of the same source that was interrupted there.

        Raises ConfigurationError where there is another.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / MANIFEST).exists():
            return cls(folder, Manifest(FORM, source, before, complete=False))
        found = _read(folder)
        if found.source != source or found.complete:
            raise ConfigurationError(f"{folder}: has an export already; name a folder that is new, or empty")
        return cls(folder, replace(found, before=max(before, found.before)))

    @property
    def last(self) -> Place | None:
        """The last row that was written."""
        return self.manifest.files[-1].last if self.manifest.files else None

    def write(self, lines: Sequence[bytes], first: Place, last: Place) -> None:
        """Write one file of lines, and name it in the manifest."""
        name = f"orders-{len(self.manifest.files) + 1:05}.jsonl"
        text = b"".join(lines)
        _put(self._folder / name, text)
        made = File(name, len(lines), len(text), hashlib.sha256(text).hexdigest(), first, last)
        self._name(replace(self.manifest, files=(*self.manifest.files, made)))

    def complete(self) -> None:
        """Say that nothing is missing."""
        self._name(replace(self.manifest, complete=True))

    def _name(self, manifest: Manifest) -> None:
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        _put(self._folder / MANIFEST, text + b"\n")
        self.manifest = manifest


class Archive:
    """An archive whose files are as they were written; rows are asked for in the order of the archive."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._lines = _lines(folder, manifest)
        self._ahead = next(self._lines, None)

    @classmethod
    def opened(cls, folder: Path, *, source: str) -> "Archive":
        """Check each file. Raises ConfigurationError where one is missing, or not as it was written."""
        manifest = _read(folder)
        if manifest.source != source:
            raise ConfigurationError(f"{folder}: is of the source {manifest.source!r}, not {source!r}")
        for file in manifest.files:
            if _checksum(folder / file.name) != file.sha256:
                raise ConfigurationError(
                    f"{folder / file.name}: is not as it was written: its SHA-256 differs"
                )
        return cls(folder, manifest)

    def holds(self, candidates: Sequence[Candidate]) -> Collection[str]:
        """Return the order ids of those that are in the archive as they stand."""
        if not candidates:
            return ()
        last = max((each.recorded_at, each.entry_id) for each in candidates)
        met = set[_Written]()
        while self._ahead is not None and (self._ahead.recorded_at, self._ahead.entry_id) <= last:
            met.add(self._ahead)
            self._ahead = next(self._lines, None)
        return {each.order_id for each in candidates if _told(each) in met}


def _told(row: Candidate) -> _Written:
    return _Written(row.recorded_at, row.entry_id, row.order_id, row.status)


def _lines(folder: Path, manifest: Manifest) -> Iterator[_Written]:
    decode = msgspec.json.Decoder(_Written).decode
    for file in manifest.files:
        with (folder / file.name).open("rb") as lines:
            for line in lines:
                yield decode(line)


def _read(folder: Path) -> Manifest:
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{folder / MANIFEST}: can't be read: {error}") from error
    if found.form != FORM:
        raise ConfigurationError(f"{folder / MANIFEST}: is of the form {found.form}, which is not known here")
    return found


def _checksum(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()


def _put(path: Path, text: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    with unfinished.open("wb") as file:
        file.write(text)
        _keep(file)
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
