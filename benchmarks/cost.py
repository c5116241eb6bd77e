"""What processes have used, by /proc: CPU of whole families, memory at its highest."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Counted from the state, which follows the name.
_PARENT, _FIRST_TIME, _LAST_TIME = 1, 11, 15


@dataclass(frozen=True)
class Use:
    """One process: who started it, and the CPU seconds of itself and of its children that have ended."""

    parent: int
    cpu_s: float


def parse_stat(text: str) -> Use:
    """Read /proc/PID/stat: utime, stime, cutime and cstime in ticks, behind a name that may hold anything."""
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[_FIRST_TIME:_LAST_TIME])
    return Use(int(fields[_PARENT]), ticks / TICKS_PER_S)


def family(pid: int, table: dict[int, Use]) -> list[int]:
    """Return a process and all that descend from it, as far as they are in the table."""
    members = [pid] if pid in table else []
    for member in members:
        members += [child for child, use in table.items() if use.parent == member]
    return members


def processes() -> dict[int, Use]:
    """Return every process there is."""
    table = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                table[int(entry.name)] = parse_stat((entry / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return table


def cpu_seconds(pids: list[int]) -> float:
    """Return what these processes and their families have used so far, ended children included."""
    table = processes()
    return sum(table[member].cpu_s for pid in pids for member in family(pid, table))


def peak_mb(pids: list[int]) -> float:
    """Return the most memory that any process of these families has ever held (VmHWM)."""
    table = processes()
    return max((_peak_mb(member) for pid in pids for member in family(pid, table)), default=0.0)


def _peak_mb(pid: int) -> float:
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:")), 0.0)
