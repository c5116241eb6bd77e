"""The edges of what commands read: ends of lines and files, exactly what is taken at once, exactly a page."""

import json
from typing import Any

import pytest

from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from worker.cli import submit
from worker.cli.pending import PAGE_SIZE
from worker.cli.submit import SUBMIT_CHUNK

ONE, OTHER = '{"symbol": "A", "quantity": "1"}', '{"symbol": "B", "quantity": "2"}'
BOM = b"\xef\xbb\xbf"


def said(deployment: Deployment, *arguments: str, given: bytes | None = None) -> Any:
    # Under a lease so long that nothing pending is claimable by itself.
    return json.loads(command(deployment, *arguments, "--json", given=given, lease_ms=1_000_000).stdout)


@pytest.mark.parametrize(
    "given",
    [
        f"{ONE}\n{OTHER}\n".encode(),
        f"{ONE}\n{OTHER}".encode(),
        f"{ONE}\r\n{OTHER}\r\n".encode(),
        f"{ONE}\r\n{OTHER}".encode(),
        f"\n\n{ONE}\n\n \t\r\n{OTHER}\n\n\n".encode(),
        BOM + f"{ONE}\n{OTHER}\n".encode(),
        BOM + f"\r\n{ONE}\r\n{OTHER}".encode(),
        f"  {ONE}  \n\t{OTHER}\t".encode(),
    ],
)
def test_lines_are_the_same_orders_however_they_end(deployment: Deployment, given: bytes) -> None:
    done = said(deployment, "submit", "-", given=given)

    assert (done["added"], done["refused"]) == (2, 0)
    assert [fields for _, fields in deployment.entries(deployment.orders)] == [
        [("symbol", b"A"), ("quantity", b"1")],
        [("symbol", b"B"), ("quantity", b"2")],
    ]


@pytest.mark.parametrize("given", [b"", b"\n", b"\r\n\r\n", BOM])
def test_file_without_orders_adds_none(deployment: Deployment, given: bytes) -> None:
    done = said(deployment, "submit", "-", given=given)

    assert (done["added"], done["refused"]) == (0, 0)
    assert not deployment.redis.exists(deployment.orders)


def test_mark_of_byte_order_is_one_only_where_the_file_begins(deployment: Deployment) -> None:
    done = said(deployment, "submit", "-", given=f"{ONE}\n".encode() + BOM + f"{OTHER}\n".encode())

    assert (done["added"], done["refused"]) == (1, 1)


@pytest.mark.parametrize(("over", "added"), [(0, 2), (1, 0)])
def test_mark_of_byte_order_is_no_part_of_the_length_of_a_line(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, over: int, added: int
) -> None:
    monkeypatch.setattr(submit, "MOST_LINE_BYTES", len(ONE) + 1 - over)

    done = said(deployment, "submit", "-", given=BOM + f"{ONE}\n{OTHER}".encode())

    assert done["added"] == added


@pytest.mark.parametrize("count", [SUBMIT_CHUNK - 1, SUBMIT_CHUNK, SUBMIT_CHUNK + 1, 2 * SUBMIT_CHUNK])
def test_each_line_is_added_once_however_many_are_added_at_a_time(deployment: Deployment, count: int) -> None:
    lines = "".join(f'{{"order_id": "o-{number}"}}\n' for number in range(count))

    done = said(deployment, "submit", "-", given=lines.encode())

    assert done["added"] == count
    added = [dict(fields)["order_id"].decode() for _, fields in deployment.entries(deployment.orders)]
    assert added == [f"o-{number}" for number in range(count)]


@pytest.mark.parametrize(("over", "added"), [(0, 2), (1, 0)])
def test_line_is_read_to_its_last_byte_and_not_beyond(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, over: int, added: int
) -> None:
    monkeypatch.setattr(submit, "MOST_LINE_BYTES", len(ONE) + 1 - over)

    done = said(deployment, "submit", "-", given=f"{ONE}\n{OTHER}".encode())

    assert done["added"] == added


@pytest.mark.parametrize("count", [PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE])
def test_commands_see_all_where_it_is_exactly_a_page(deployment: Deployment, count: int) -> None:
    client = deployment.redis
    with client.pipeline() as pipeline:
        for number in range(count):
            pipeline.xadd(deployment.orders, {"order_id": f"o-{number}"}, id=f"1-{number + 1}")
            pipeline.xadd(deployment.dead_letters, {"entry_id": f"1-{number + 1}", "reason": "failed"})
        pipeline.xgroup_create(deployment.orders, deployment.group, "0")
        pipeline.xreadgroup(deployment.group, "gone", {deployment.orders: ">"}, count=count)
        pipeline.execute()

    letters = said(deployment, "dead", "list")["letters"]
    would = said(deployment, "dead", "discard", "--all", "--dry-run")["would be discarded"]
    pending = said(deployment, "pending", "--limit", str(count))
    replayed = said(deployment, "replay", "--idle", "0", "--yes")
    by_id = said(deployment, "replay", *(f"1-{number + 1}" for number in range(count)), "--dry-run")

    assert len(letters) == len(would) == count
    assert (len(pending["entries"]), pending["more"]) == (count, False)
    assert replayed["made_claimable"] == by_id["matched"] == count
    assert by_id["not_pending"] == []


@pytest.mark.parametrize("count", [500, 1000])
def test_audit_sees_all_where_it_is_exactly_a_page(deployment: Deployment, count: int) -> None:
    deployment.submit(numbered_orders(count))
    with running(deployment, batch_size=500):
        eventually(deployment.all_settled)

    done = command(deployment, "audit", "--json")

    seen = json.loads(done.stdout.splitlines()[-1])["summary"]["seen"]
    assert (done.exit_code, seen["orders"], seen["rows"], seen["results"]) == (0, count, count, count)
