"""What `pip install .` brings along."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.processes import ROOT
from worker import __version__


def test_wheel_carries_migrations_scripts_and_types(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip

    (wheel,) = tmp_path.glob("*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())

    assert wheel.name.startswith(f"orders_worker-{__version__}-")
    assert {"worker/py.typed", "worker/stream/scripts/settle.lua"} <= files
    assert {f"worker/_migrations/{each.name}" for each in (ROOT / "alembic").glob("*.py")} <= files
    assert {
        f"worker/_migrations/versions/{each.name}" for each in (ROOT / "alembic/versions").glob("*.py")
    } <= files
    assert not any(name.startswith("alembic/") for name in files)
