"""What `pip install .` brings along."""

import zipfile
from pathlib import Path

from tests.installing import built
from tests.processes import ROOT
from worker import __version__


def test_two_builds_of_one_tree_are_equal_byte_by_byte(tmp_path: Path) -> None:
    first, second = built(ROOT, tmp_path / "first"), built(ROOT, tmp_path / "second")

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_carries_migrations_scripts_and_types(tmp_path: Path) -> None:
    wheel = built(ROOT, tmp_path / "dist")
    files = set(zipfile.ZipFile(wheel).namelist())

    assert wheel.name.startswith(f"orders_worker-{__version__}-")
    assert {"worker/py.typed", "worker/stream/scripts/settle.lua"} <= files
    assert {f"worker/_migrations/{each.name}" for each in (ROOT / "alembic").glob("*.py")} <= files
    assert {
        f"worker/_migrations/versions/{each.name}" for each in (ROOT / "alembic/versions").glob("*.py")
    } <= files
    assert not any(name.startswith("alembic/") for name in files)
