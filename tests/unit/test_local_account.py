"""Who PostgreSQL runs as, and how little is opened for it."""

import stat
from pathlib import Path

import pytest

from local.account import Account, open_way, unprivileged_account, way_to

STRANGER = Account("stranger", uid=54321, gid=54321)


def test_way_to_a_file_is_opened_by_the_execute_bit_for_others_alone(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    open_way([closed / "data"], STRANGER)

    assert stat.S_IMODE(closed.stat().st_mode) == 0o701


def test_way_to_a_file_is_told_on_stderr_when_it_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    open_way([closed / "data"], STRANGER)
    open_way([closed / "data"], STRANGER)

    lines = [line for line in capsys.readouterr().err.splitlines() if str(closed) in line]
    assert len(lines) == 1


def test_way_to_a_file_leaves_its_last_step_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)

    open_way([data], STRANGER)

    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize(("mode", "lacks"), [(0o700, True), (0o701, False), (0o676, True)])
def test_account_is_judged_by_the_bits_for_others_when_the_file_is_not_its_own(
    tmp_path: Path, mode: int, *, lacks: bool
) -> None:
    tmp_path.chmod(mode)

    found = STRANGER.lacks(1, tmp_path.stat())

    tmp_path.chmod(0o700)
    assert found is lacks


def test_account_is_judged_by_the_owners_bits_when_the_file_is_its_own(tmp_path: Path) -> None:
    status = tmp_path.stat()
    owner = Account("owner", status.st_uid, status.st_gid)
    tmp_path.chmod(0o700)

    assert not owner.lacks(7, tmp_path.stat())


def test_server_runs_as_ourselves_when_we_are_not_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert unprivileged_account(tmp_path) is None


def test_server_does_not_run_as_root_when_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    account = unprivileged_account(tmp_path / "not there yet")

    assert account is not None
    assert account.uid != 0


def test_way_to_a_directory_leads_there_and_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "closed" / "data").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)

    with way_to(tmp_path / "closed" / "data", STRANGER) as way:
        same = way.path.samefile(tmp_path / "closed" / "data")

    assert same
    assert stat.S_IMODE((tmp_path / "closed").stat().st_mode) == 0o700


def test_way_to_a_directory_is_its_path_with_open_parents_when_there_is_no_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.account.DESCRIPTORS", tmp_path / "no proc")
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)

    with way_to(closed / "data", STRANGER) as way:
        path = way.path

    assert path == closed / "data"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
