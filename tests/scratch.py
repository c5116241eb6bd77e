"""Where the suite keeps its files: in memory, where there is room for them."""

import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  its own folder there is private, made by pytest
ROOM = 4 << 30


def in_memory() -> Path | None:
    """Return a folder in memory that the suite's files fit into, or None.

    Hundreds of databases are made and dropped; on a disk that is busy, a commit may wait for its fsync for
    longer than the deadlines under test. No guarantee is spared: what tests kill are processes, and files
    outlive them here as well.
    """
    try:
        flags = os.statvfs(SHARED_MEMORY).f_flag
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None
    usable = os.access(SHARED_MEMORY, os.W_OK) and not flags & os.ST_NOEXEC
    return SHARED_MEMORY if usable and free >= ROOM else None
