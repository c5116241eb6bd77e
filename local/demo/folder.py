"""A folder that is gone when the demo is gone, however the demo ends."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from local.interrupts import undisturbed

PREFIX = "orders-worker-demo-"
# As the guards of processes do, it waits for its pipe to close, which even SIGKILL of the demo leads to. A
# server that is ending then may still write, so removing is tried again.
SWEEPER = """
while read -r _; do :; done
tries=100
while [ -e "$1" ] && [ $((tries -= 1)) -gt 0 ]; do rm -rf "$1" || sleep 0.2; done
"""


@contextmanager
def throw_away_folder() -> Iterator[Path]:
    """Yield a new folder among the temporary ones, and remove it with all that is in it."""
    with undisturbed():
        folder = Path(mkdtemp(prefix=PREFIX))
        sweeper = subprocess.Popen(
            ["/bin/sh", "-c", SWEEPER, "sweeper", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield folder
    finally:
        sweeper.communicate()
