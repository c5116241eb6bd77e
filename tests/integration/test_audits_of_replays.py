"""What an audit says of orders that were given up, came again meanwhile, and were replayed in other words."""

import json
from pathlib import Path

import pytest

from tests.commands import command
from tests.faults.executors import NOTES
from tests.fleets import result_ids
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running


def test_order_that_came_again_before_it_was_replayed_in_other_words_is_no_conflict(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proves that what was acked as a duplicate stays one when the row says something else since."""
    monkeypatch.setenv(NOTES, str(tmp_path / "executions"))
    order = {**numbered_orders(1)[0], "client_id": "poison"}
    deployment.submit([order])
    with running(deployment, executor="tests.faults.executors:Raising", max_deliveries=3):
        eventually(deployment.all_settled)
        (again,) = deployment.submit([order])
        eventually(deployment.all_settled)
    ((letter_id, _),) = deployment.entries(deployment.dead_letters)
    done = command(
        deployment, "dead", "replay", letter_id, "--yes", "--set", "client_id=fine", "--set", "quantity=2"
    )
    with running(deployment):
        eventually(deployment.all_settled)

    audit = command(deployment, "audit", "--repair")
    shown = json.loads(command(deployment, "show", again, "--json").stdout)

    assert done.exit_code == 0, done.output
    assert audit.exit_code == 0, audit.output
    assert shown["findings"] == []
    with running(deployment):
        eventually(deployment.all_settled)
    assert result_ids(deployment) == [order["order_id"]]
    assert len(deployment.letters()) == 1
