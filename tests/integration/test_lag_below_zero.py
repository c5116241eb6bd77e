"""A server that counts a lag below zero: nobody is told that number."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults.environment.trial import page
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import committing, seen
from worker.cli.status import Look
from worker.stream import xinfo

ORDERS, WAITING = 10, 8


@pytest.fixture(autouse=True)
def _counts_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server count as Redis 7.0 does of a group that was set to more entries read than there are."""
    read = xinfo.group_details

    def details(told: Mapping[str, Any]) -> xinfo.GroupDetails:
        return read({**told, "lag": -95})

    monkeypatch.setattr(xinfo, "group_details", details)


def test_lag_below_zero_is_not_known_to_pages_and_status_counts_what_waits(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(ORDERS))

    with committing(deployment, batch_size=1) as (made, _):
        # One is committed, the next was read ahead.
        eventually(lambda: seen(made.checks.redis, lambda state: state.pending) == ORDERS - WAITING)
        shown = json.loads(page(made, "/status")[1])["redis"]
        metrics = page(made, "/metrics")[1]
        look = Look(deployment.settings())

    assert (shown["connected"], shown["lag"]) == (True, None)
    assert "execution_stream_pending" in metrics
    assert "execution_stream_lag" not in metrics
    found = json.loads(look.json())["redis"]
    assert (found["waiting"], found["waiting_exact"], found["lag"]) == (WAITING, True, None)
    assert "lag" not in look.text
    assert "-95" not in look.text
