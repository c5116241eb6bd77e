"""The processes of this machine, as far as stopping a whole server needs them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Stopped, stopped by a tracer, zombie: a stopped postmaster buries no backend that has just ended.
INERT = "TtZ"


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process: who started it, and whether it is inert: stopped (SIGSTOP), or dead and unburied."""

    parent: int
    inert: bool


def process_table() -> dict[int, ProcessRow]:
    """Return every visible process by its id."""
    if (PROC / "self" / "stat").exists():
        return _read_proc()
    return _ask_ps()


def children_of(pid: int) -> list[int]:
    """Return the ids of the direct children of a process."""
    return [child for child, row in process_table().items() if row.parent == pid]


def parse_stat(text: str) -> ProcessRow:
    """Read one /proc/PID/stat, whose second field may itself hold blanks and brackets."""
    state, parent = text.rpartition(")")[2].split()[:2]
    return ProcessRow(parent=int(parent), inert=state in INERT)


def _read_proc() -> dict[int, ProcessRow]:
    table = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            table[int(entry.name)] = parse_stat(stat)
    return table


def _ask_ps() -> dict[int, ProcessRow]:
    listing = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid=,state="],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): ProcessRow(parent=int(parent), inert=state[0] in INERT) for pid, parent, state in rows}
