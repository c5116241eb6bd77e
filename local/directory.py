"""The directory of one local server: what it keeps between runs, and who works on it."""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.errors import LocalServerFailed

LOOPBACK = "127.0.0.1"
# Below the ports the kernel hands to outgoing connections: a client that keeps dialling a
# killed server on one of those can end up connected to itself, and then holds the port.
PORTS = range(20_000, 32_000)


def make_directory(path: Path) -> None:
    """Create the directory and its missing parents, closed to others."""
    for missing in reversed([path, *path.parents]):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Replace the file by one that only its owner can read, at no moment by a wider one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def kept_secret(path: Path) -> str:
    """Return the random password of the file, made at the first call."""
    if not path.exists():
        write_secret(path, secrets.token_hex(24))
    return path.read_text()


def kept_port(path: Path) -> int:
    """Return the port of the file, or a new one where none is kept or it has been taken."""
    if path.exists() and is_free(port := int(path.read_text())):
        return port
    port = free_port()
    path.write_text(str(port))
    return port


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    while not is_free(port := secrets.choice(PORTS)):
        pass
    return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        # As the servers do it: connections of an earlier run in TIME_WAIT take no port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def last_lines(path: Path, count: int = 15) -> list[str]:
    """Return the end of a log, or nothing where there is no log."""
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines()[-count:]


@contextmanager
def held(path: Path, within: float, refusal: str) -> Iterator[int]:
    """Hold the lock file, and yield its descriptor for a server to inherit.

    The lock lasts until the last process that inherited it is gone, so whoever gets it knows
    that nothing of an earlier server is left, be it a backend or a shared memory segment.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + within
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise LocalServerFailed(refusal)
            time.sleep(0.01)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
