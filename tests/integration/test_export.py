"""`worker export`: rows in files that can be checked, and what `worker prune` makes of them."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.aging import executed_long_ago
from tests.commands import command
from tests.harness import Deployment, numbered_orders
from tests.integration.test_prune import COUNT, WINDOW, audited, pruned, sql
from worker.cli import export as command_module
from worker.store import RowsToExport

pytestmark = pytest.mark.usefixtures("marks_go_at_once", "retention_at_once")


@pytest.fixture
def old(deployment: Deployment) -> Deployment:
    """Six orders of ten days ago, and one of now."""
    executed_long_ago(deployment, numbered_orders(COUNT))
    return deployment


def exported(deployment: Deployment, folder: Path) -> dict[str, Any]:
    done = command(deployment, "export", "--older-than", "1d", "--json", str(folder))
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def lines(folder: Path) -> list[dict[str, Any]]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [
        json.loads(line)
        for file in manifest["files"]
        for line in (folder / file["name"]).read_text(encoding="utf-8").splitlines()
    ]


def test_rows_are_written_whole_and_named_with_their_checksum(old: Deployment, tmp_path: Path) -> None:
    said = exported(old, tmp_path)

    (file,) = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert (said["rows"], said["files"], file["rows"]) == (COUNT, 1, COUNT)
    assert file["sha256"] == hashlib.sha256((tmp_path / file["name"]).read_bytes()).hexdigest()
    rows = old.rows()
    assert {each["order_id"] for each in lines(tmp_path)} == rows.keys() - {"young"}
    for each in lines(tmp_path):
        row = rows[each["order_id"]]
        assert (each["entry_id"], each["status"]) == (row.entry_id, row.status)
        assert Decimal(each["filled_quantity"]) == row.filled_quantity
        assert bytes.fromhex(each["fingerprint"]) == row.fingerprint
        assert [Decimal(trade["price"]) for trade in each["trades"]] == [trade.price for trade in row.trades]
        assert each["client_id"] == row.labels.client_id


def test_only_what_was_exported_goes_where_that_is_asked_for(old: Deployment, tmp_path: Path) -> None:
    sql(old, "UPDATE orders SET recorded_at = now() WHERE order_id = 'order-0'")
    exported(old, tmp_path)
    sql(old, "UPDATE orders SET recorded_at = now() - interval '9 days' WHERE order_id = 'order-0'")
    sql(old, "UPDATE orders SET recorded_at = now() - interval '8 days' WHERE order_id = 'order-1'")

    said = pruned(old, "--exported", str(tmp_path))

    assert (said["pruned"], said["refused"], said["code"]) == (COUNT - 2, {"not_exported": 2}, 1)
    assert old.rows().keys() == {"order-0", "order-1", "young"}
    assert audited(old)[:2] == (0, [])


def flip_a_byte(folder: Path) -> None:
    path = next(folder.glob("*.jsonl"))
    text = path.read_bytes()
    path.write_bytes(text[:-10] + bytes([text[-10] ^ 1]) + text[-9:])


def lose_a_file(folder: Path) -> None:
    next(folder.glob("*.jsonl")).unlink()


def tear_the_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:50])


def be_of_another_source(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"source": "another"}), encoding="utf-8")


@pytest.mark.parametrize("harm", [flip_a_byte, lose_a_file, tear_the_manifest, be_of_another_source])
def test_nothing_goes_by_files_that_are_not_as_they_were_written(
    old: Deployment, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    exported(old, tmp_path)
    harm(tmp_path)

    done = command(old, "prune", "--older-than", "1d", "--exported", str(tmp_path), **WINDOW)

    assert (done.exit_code, len(done.stderr.splitlines())) == (78, 1)
    assert str(tmp_path) in done.stderr
    assert len(old.rows()) == COUNT + 1


def test_interrupted_export_goes_on_behind_its_last_file(
    old: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, calls = RowsToExport.page, []

    def interrupted(*asked: Any) -> Any:
        calls.append(asked)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return page(*asked)

    monkeypatch.setattr(command_module, "PAGE", 1)
    monkeypatch.setattr(command_module, "ROWS_A_FILE", 2)
    monkeypatch.setattr(RowsToExport, "page", interrupted)

    first = command(old, "export", "--older-than", "1d", str(tmp_path))
    before = lines(tmp_path)
    second = exported(old, tmp_path)

    assert (first.exit_code, len(before)) == (130, 2)
    assert "interrupted after 2 rows; run it again" in first.stderr
    assert (second["rows"], second["files"]) == (COUNT, 3)
    assert [each["order_id"] for each in lines(tmp_path)] == sorted(old.rows().keys() - {"young"})
    assert pruned(old, "--exported", str(tmp_path))["pruned"] == COUNT


def test_export_that_is_complete_is_not_written_over(old: Deployment, tmp_path: Path) -> None:
    exported(old, tmp_path)

    again = command(old, "export", "--older-than", "1d", str(tmp_path))

    assert again.exit_code == 78
    assert "has an export already" in again.stderr
