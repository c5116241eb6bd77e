"""A disk that is really full: the tables of one database lie on a file system of their own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.environment.site import Site
from tests.faults.environment.trial import (
    LONG_LEASE,
    ORDERS,
    assert_as_if_nothing_had_happened,
    assert_says_so,
    recovering,
)
from tests.harness import numbered_orders
from tests.inprocess import running
from tests.skips import Reason, skip

SIZE = 4 << 20


@pytest.fixture
def tiny_disk(site: Site) -> Iterator[Path]:
    """A file system of four megabytes that the tables of orders and trades have moved to."""
    # Not below a directory of the test, which is closed to the server's account.
    folder = Path("/mnt") / site.name
    try:
        folder.mkdir()
        owner = site.postgres_server.data.stat()
        options = f"size={SIZE},uid={owner.st_uid},gid={owner.st_gid},mode=700"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        skip(Reason.MAY_NOT_MOUNT)
    tables = folder / "tables"
    tables.mkdir()
    os.chown(tables, owner.st_uid, owner.st_gid)
    site.sql(
        f"CREATE TABLESPACE {site.name} LOCATION '{tables}'",
        f"ALTER TABLE orders SET TABLESPACE {site.name}",
        f"ALTER TABLE trades SET TABLESPACE {site.name}",
    )
    yield folder
    site.sql(
        "ALTER TABLE orders SET TABLESPACE pg_default",
        "ALTER TABLE trades SET TABLESPACE pg_default",
        "CHECKPOINT",
        f"DROP TABLESPACE {site.name}",
    )
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
    folder.rmdir()


def test_replica_waits_until_there_is_room_again(site: Site, tiny_disk: Path) -> None:
    filler = tiny_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], check=False, capture_output=True)
    site.deployment.submit(numbered_orders(ORDERS))

    with running(site.workers, transaction_timeout_s=3, **LONG_LEASE) as made:
        assert_says_so(made, "53100")
        filler.unlink()
        with recovering("postgresql: disk full") as until:
            until(site.deployment.all_settled)

    assert_as_if_nothing_had_happened(site, made)
