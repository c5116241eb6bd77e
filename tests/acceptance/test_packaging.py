"""What `pip install .` brings along."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.processes import ROOT
from worker import __version__


def built(folder: Path) -> Path:
    """Build a wheel into a folder, and return it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_two_builds_of_one_tree_are_equal_byte_by_byte(tmp_path: Path) -> None:
    first, second = built(tmp_path / "first"), built(tmp_path / "second")

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_carries_migrations_scripts_and_types(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    files = set(zipfile.ZipFile(wheel).namelist())

    assert wheel.name.startswith(f"orders_worker-{__version__}-")
    assert {"worker/py.typed", "worker/stream/scripts/settle.lua"} <= files
    assert {f"worker/_migrations/{each.name}" for each in (ROOT / "alembic").glob("*.py")} <= files
    assert {
        f"worker/_migrations/versions/{each.name}" for each in (ROOT / "alembic/versions").glob("*.py")
    } <= files
    assert not any(name.startswith("alembic/") for name in files)
