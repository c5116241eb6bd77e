"""A standby of a local PostgreSQL: a copy that follows it, and may be promoted."""

import os
import subprocess
from pathlib import Path

from local.account import unprivileged_account
from local.directory import make_directory, write_secret
from local.postgres import LocalPostgres, find_postgres


def standby_of(
    primary: LocalPostgres, folder: Path, *, port: int | None = None, way: str = ""
) -> LocalPostgres:
    """Start a standby that follows a primary, at a port of its own or at `port`, and return it.

    `way`: the URL by which it reaches the primary, where that is not the primary's own. Raises
    CalledProcessError where the primary can't be copied, LocalServerError where the copy does not start.
    """
    make_directory(folder)
    write_secret(folder / "password", primary.password)
    if port is not None:
        (folder / "port").write_text(str(port))
    standby = LocalPostgres(folder)
    make_directory(standby.data.parent)
    program = find_postgres()[0] / "pg_basebackup"
    arguments = ["-d", way or primary.url, "-D", str(standby.data), "-R", "--checkpoint=fast", "--no-sync"]
    subprocess.run([str(program), *arguments], check=True, capture_output=True)
    account = unprivileged_account(standby.data)
    if account is not None:
        for path in (standby.data, *standby.data.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    standby.start()
    return standby
