"""Dead letters on the pages of a real replica: replayed by hand, once, and what was foretold comes true."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faces import Visitor
from tests.faults.executors import NOTES
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from worker.bootstrap.letters import letter_desk
from worker.domain.orders import Status
from worker.status.letters import Forecast, Wanted

ADMIN: dict[str, Any] = {"admin_token": "known-to-admins-"}
BREAKS: dict[str, Any] = {"executor": "tests.faults.executors:Raising", "max_deliveries": 3}


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where executors note what they do."""
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))


def given_up(deployment: Deployment, count: int) -> list[str]:
    """Have orders given up by a broken executor; return their letters."""
    deployment.submit([{**order, "client_id": "poison"} for order in numbered_orders(count)])
    with running(deployment, **BREAKS):
        eventually(deployment.all_settled, within=60)
    return [letter_id for letter_id, _ in deployment.entries(deployment.dead_letters)]


def accept_all(deployment: Deployment) -> None:
    """Log what replays have added."""
    deployment.accepted[:] = [entry_id for entry_id, _ in deployment.entries(deployment.orders)]


def replays(deployment: Deployment) -> list[str]:
    added = [dict(fields) for _, fields in deployment.entries(deployment.orders)]
    return sorted(fields["replay_of"].decode() for fields in added if "replay_of" in fields)


def test_letters_that_are_replayed_on_a_page_are_executed(deployment: Deployment) -> None:
    letters = given_up(deployment, 3)
    with running(deployment, **ADMIN) as made, Visitor(made.server.port) as visitor:
        visitor.sign_in("anna", ADMIN["admin_token"])
        assert re.findall(r'name="letter" value="([^"]+)"', visitor.get("/dead")) == letters[::-1]

        form = {"letter": letters[:2]}
        asked = visitor.post("/dead/replay", form, of="/dead")
        done = visitor.post("/dead/replay", {**form, "count": "2"}, of="/dead")
        closed = visitor.post("/dead/discard", {"letter": letters[2], "count": "1"}, of=f"/dead/{letters[2]}")
        accept_all(deployment)
        eventually(deployment.all_settled)
        shown = visitor.get(f"/dead/{letters[0]}")

    assert "its row is DEAD, and goes to the replay" in asked
    assert "2 of 2 dead letters replayed" in done
    assert "1 of 1 dead letters discarded" in closed
    assert "by anna (page) at " in shown
    statuses = [row.status for row in deployment.rows().values()]
    assert sorted(status is Status.DEAD for status in statuses) == [False, False, True]
    assert_invariants(deployment)


def test_letters_that_several_people_replay_at_once_are_added_once_each(deployment: Deployment) -> None:
    letters = given_up(deployment, 5)
    with running(deployment, **ADMIN) as made, ExitStack() as used:
        people = [used.enter_context(Visitor(made.server.port)) for _ in range(3)]
        for number, each in enumerate(people):
            each.sign_in(f"person{number}", ADMIN["admin_token"])
        form: dict[str, Any] = {"letter": letters, "count": "5"}

        with ThreadPoolExecutor(len(people)) as threads:
            list(threads.map(lambda each: each.post("/dead/replay", form, of="/dead"), people))

        assert replays(deployment) == sorted(deployment.accepted)
        accept_all(deployment)
        eventually(deployment.all_settled)
    assert_invariants(deployment)


def test_replay_becomes_what_was_foretold(deployment: Deployment) -> None:
    orders = numbered_orders(4)
    dead, executed, other, unsound = orders
    deployment.submit([{**dead, "client_id": "poison"}])
    deployment.submit([executed, other, {**other, "quantity": "7"}, {"payload": "{"}])
    with running(deployment, **BREAKS):
        eventually(deployment.all_settled, within=60)
    for name, order in (
        ("1-1", executed),
        ("1-2", {**executed, "quantity": "9"}),
        ("1-3", {**unsound, "side": "-"}),
    ):
        letter = {"entry_id": name, "reason": "failed", "order_id": order["order_id"]}
        originals = {f"orig:{field}": value for field, value in order.items()}
        deployment.redis.xadd(deployment.dead_letters, letter | originals)  # type: ignore[arg-type]
    before = len(deployment.entries(deployment.dead_letters))
    with letter_desk(deployment.settings()) as desk:
        lines = list(desk.walk(Wanted()))
        foretold = {
            line.letter_id: found.preview for line in lines if (found := desk.in_full(line.letter_id))
        }
        added = {line.letter_id: desk.replay(line.letter_id, "me").replayed_as for line in lines}
    accept_all(deployment)
    with running(deployment):
        eventually(deployment.all_settled)

    became = {letter_id: outcome_of(deployment, entry_id, before) for letter_id, entry_id in added.items()}
    expected = {letter_id: preview.forecast for letter_id, preview in foretold.items() if preview}
    assert became == expected
    assert set(expected.values()) == set(Forecast) - {Forecast.UNKNOWN}


def outcome_of(deployment: Deployment, entry_id: str | None, letters_before: int) -> Forecast:
    """Return what became of the entry of a replay."""
    if entry_id is None:
        return Forecast.REFUSED
    rows = {row.entry_id: row for row in deployment.rows().values()}
    if entry_id in rows:
        is_rejected = rows[entry_id].status is Status.REJECTED
        return Forecast.REJECTED if is_rejected else Forecast.EXECUTED
    letters = [dict(fields) for _, fields in deployment.entries(deployment.dead_letters)[letters_before:]]
    reason = {letter["entry_id"].decode(): letter["reason"] for letter in letters}.get(entry_id)
    if reason is None:
        return Forecast.DUPLICATE
    return Forecast.CONFLICT if reason == b"conflict" else Forecast.BURIED


def test_letter_whose_state_nobody_can_read_hides_no_other(deployment: Deployment) -> None:
    letters = given_up(deployment, 2)
    deployment.redis.hset(f"{deployment.dead_letters}:state", letters[0], '{"state": "replayed"}')
    with running(deployment, **ADMIN) as made, Visitor(made.server.port) as visitor:
        visitor.sign_in("anna", ADMIN["admin_token"])
        listed, first = visitor.get("/dead?state=all"), visitor.get("/")
        done = visitor.post("/dead/discard", {"letter": letters, "count": "2"}, of="/dead?state=all")

    assert all(letter in listed for letter in letters)
    assert "unreadable" in listed
    assert "1 open dead letter" in first
    assert "1 of 2 dead letters discarded" in done
