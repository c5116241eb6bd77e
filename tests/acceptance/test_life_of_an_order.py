"""`worker show` as the person on call runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_commands import worker
from tests.acceptance.test_dead_letters import bury, dead
from tests.acceptance.test_stuck_orders import LONG_LEASE, stuck
from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import workers


def life(deployment: Deployment, identifier: str) -> dict[str, Any]:
    done = worker(deployment, "show", identifier, "--json", **LONG_LEASE)
    assert done.returncode == 0, done.stderr
    return {station["what"]: station for station in json.loads(done.stdout)["life"]}


@pytest.mark.parametrize("by", ["order id", "entry id"])
def test_life_of_an_executed_order_is_shown(deployment: Deployment, tmp_path: Path, by: str) -> None:
    ids = deployment.submit(numbered_orders(3))
    with workers(deployment, tmp_path, 1):
        eventually(deployment.all_settled)

    found = life(deployment, ids[1] if by == "entry id" else "order-1")
    lines = worker(deployment, "show", "order-1").stdout.splitlines()

    row = deployment.rows()["order-1"]
    results = [
        entry_id
        for entry_id, fields in deployment.entries(deployment.results)
        if ("order_id", b"order-1") in fields
    ]
    assert (found["entered"]["entry"], found["entered"]["it is"]) == (ids[1], "on the stream")
    assert (found["committed"]["status"], found["result"]["entry"]) == (row.status.value, results[0])
    assert (found["pending"]["held by"], found["settled"]["mark"]) == ("nobody", "yes")
    assert [line.split()[1] for line in lines[:3]] == ["entered", "committed", "result"]


@pytest.mark.parametrize("by", ["order id", "entry id"])
def test_life_of_a_stuck_order_says_who_holds_it(deployment: Deployment, by: str) -> None:
    ids = stuck(deployment, 2)

    found = life(deployment, ids[0] if by == "entry id" else "order-0")

    assert set(found) == {"entered", "pending", "settled"}
    assert (found["entered"]["order"], found["pending"]["held by"]) == ("order-0", "gone")
    assert (found["pending"]["deliveries"], found["settled"]["mark"]) == (1, "no")


def test_life_of_a_buried_entry_names_the_command_that_replays_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    entry_id = deployment.add_raw("payload", b"{\x1b[31m")
    with workers(deployment, tmp_path, 1):
        eventually(deployment.all_settled)
    ((letter_id, _),) = deployment.entries(deployment.dead_letters)

    found = life(deployment, entry_id)
    shown = worker(deployment, "show", entry_id)

    assert found["buried"]["replay it by"] == f"worker dead replay {letter_id}"
    assert found["buried"]["reason"] == "undecodable"
    assert "\x1b" not in shown.stdout


def test_life_of_a_replayed_order_names_its_letter(deployment: Deployment) -> None:
    (letter_id,) = bury(deployment, numbered_orders(1))
    before = life(deployment, "order-0")
    assert dead(deployment, "replay", letter_id, "--yes").returncode == 0
    (_, _), (replayed_as, _) = deployment.entries(deployment.orders)

    found = life(deployment, "order-0")

    assert before["buried"]["replay it by"] == f"worker dead replay {letter_id}"
    assert found["entered"]["entry"] == replayed_as
    assert (found["buried"]["letter"], found["buried"]["replayed as"]) == (letter_id, replayed_as)


def test_entry_that_claims_to_replay_nonsense_is_shown(deployment: Deployment) -> None:
    entry_id = deployment.submit([{**numbered_orders(1)[0], "replay_of": "\x1b[31m-x"}])[0]

    shown = worker(deployment, "show", entry_id)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "order-0" in shown.stdout


def test_order_whose_result_is_not_found_is_said_to_be_so(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(1))
    with workers(deployment, tmp_path, 1):
        eventually(deployment.all_settled)
    deployment.redis.delete(deployment.results)

    found = life(deployment, "order-0")

    assert "not found in the range searched" in found["result"]


@pytest.mark.parametrize(("identifier", "code"), [("nothing", 1), ("1-1", 1), ("\x1b[31m", 2), ("", 2)])
def test_what_is_not_there_is_1_and_what_can_be_no_id_is_2(
    deployment: Deployment, identifier: str, code: int
) -> None:
    done = worker(deployment, "show", identifier)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
