"""The account PostgreSQL runs under, since it refuses to run as root."""

import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = ("postgres", "nobody")
ROOT = 0
DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def lacks(self, permission: int, status: os.stat_result) -> bool:
        """Tell whether the file's mode denies `permission` (any of 4, 2, 1) to this user."""
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid == self.gid:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & permission != permission


def unprivileged_account(data: Path) -> Account | None:
    """Return who the server runs as: None means as ourselves, which only root cannot do.

    Data that a user's own run has left stays that user's.
    """
    if os.geteuid() != ROOT:
        return None
    if data.exists() and (owner := data.stat()).st_uid != ROOT:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    return Account("nobody", 65534, 65534)


@dataclass(frozen=True, slots=True)
class Way:
    """A directory as a process of the account finds it, and the descriptors it must inherit for that."""

    path: Path
    account: Account | None = None
    descriptors: tuple[int, ...] = ()


@contextmanager
def way_to(directory: Path, account: Account | None) -> Iterator[Way]:
    """Yield a way to a directory that holds even where the account may not enter its parents.

    An open descriptor is such a way, and a lasting one: it does not matter who closes a parent later,
    as each start of pytest does with its own in /tmp. Without /proc the parents are opened instead.
    """
    if account is None:
        yield Way(directory)
    elif DESCRIPTORS.is_dir():
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Way(DESCRIPTORS / str(descriptor), account, (descriptor,))
        finally:
            os.close(descriptor)
    else:
        open_way([directory], account)
        yield Way(directory, account)


def open_way(targets: Iterable[Path], account: Account) -> None:
    """Give others the execute bit, and no more, on the parents that bar the account's way."""
    parents = {parent for target in targets for parent in target.resolve().parents}
    barred = [parent for parent in sorted(parents) if account.lacks(stat.S_IXOTH, parent.stat())]
    for parent in barred:
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) | stat.S_IXOTH)
    if barred:
        names = ", ".join(map(str, barred))
        sys.stderr.write(f"local servers: chmod o+x {names}, for user {account.name} to reach its files\n")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
