"""What a local server keeps in its directory."""

import socket
import stat
from pathlib import Path

import pytest

from local.directory import LOOPBACK, PORTS, held, kept_port, kept_secret, last_lines, write_secret
from local.errors import LocalServerFailed


def test_secret_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(mode=0o666)

    write_secret(file, "s3cret")

    assert file.read_text() == "s3cret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_password_is_random_and_kept(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "one")

    assert kept_secret(tmp_path / "one") == first
    assert kept_secret(tmp_path / "two") != first
    assert len(first) >= 32


def test_port_is_kept_and_outside_what_outgoing_connections_use(tmp_path: Path) -> None:
    port = kept_port(tmp_path / "port")

    assert kept_port(tmp_path / "port") == port
    assert port in PORTS


def test_port_is_replaced_when_another_program_listens_on_it(tmp_path: Path) -> None:
    port = kept_port(tmp_path / "port")

    with socket.create_server((LOOPBACK, port)):
        replacement = kept_port(tmp_path / "port")

    assert replacement != port
    assert kept_port(tmp_path / "port") == replacement


def test_held_directory_is_refused_to_others_until_it_is_released(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    with held(lock, 0, "taken"), pytest.raises(LocalServerFailed, match="taken"), held(lock, 0, "taken"):
        pass

    with held(lock, 0, "taken"):
        pass


def test_last_lines_are_none_when_there_is_no_log(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "log") == []


def test_last_lines_survive_bytes_that_are_no_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n\xff\n")

    assert last_lines(log, 2) == ["two", "\N{REPLACEMENT CHARACTER}"]
