"""What the commands beside `run` make of the settings that they share with it."""

import json
from typing import Any

import pytest
import redis

from tests.acceptance.test_audit import delete_result
from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.integration.settings.test_names import heard
from tests.unit.test_server import ask


@pytest.mark.effect_of(lease_ms=61_002)
def test_pending_replay_and_status_judge_by_the_lease_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(1))
    take_and_vanish(deployment, 1)
    deployment.redis.xclaim(
        deployment.orders, deployment.group, "gone", 0, [deployment.accepted[0]], idle=45_000, justid=True
    )

    pending = json.loads(command(deployment, "pending", "--json", **tried).stdout)
    status = json.loads(command(deployment, "status", "--json", **tried).stdout)
    replayed = json.loads(command(deployment, "replay", "--all", "--yes", "--json", **tried).stdout)
    claimable = json.loads(command(deployment, "pending", "--json", **tried).stdout)

    # Beyond the default of 30 s, and beyond half of what is set.
    assert [each["claimable"] for each in pending["entries"]] == [False]
    assert status["redis"]["stuck_after_s"] == 3 * 61.002
    assert replayed["made_claimable"] == 1
    assert [each["claimable"] for each in claimable["entries"]] == [True]


@pytest.mark.effect_of(results_channel="mended")
def test_audit_gives_out_copies_on_the_channel_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    channel = deployment.key(tried["results_channel"])
    deployment.submit(numbered_orders(8))
    with running(deployment):
        eventually(deployment.all_settled)
    delete_result(deployment)

    with redis.Redis.from_url(deployment.servers.redis_url) as client, client.pubsub() as listener:
        listener.subscribe(channel)
        command(deployment, "audit", "--repair", "--republish", results_channel=channel)
        copies = heard(listener)

    assert copies == deployment.published()[-1:]


@pytest.mark.effect_of(orders_keep_s=3604, results_maxlen=131)
def test_status_says_what_is_kept(deployment: Deployment, tried: dict[str, Any]) -> None:
    status = json.loads(command(deployment, "status", "--json", **tried).stdout)

    kept = status["redis"]["retention"]
    assert (kept["orders_keep_s"], kept["results_maxlen"]) == (3604, 131)


@pytest.mark.effect_of(hidden_fields="email, client_id")
def test_commands_and_page_show_nothing_of_hidden_fields(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    order = {**numbered_orders(1)[0], "client_id": "kilroy", "email": "kilroy@example.org"}
    good, bad = {**order, "order_id": "good"}, {**order, "side": "NONE", "order_id": "bad"}
    letters = [
        {
            **{f"orig:{name}": value for name, value in order.items()},
            "error": "no account kilroy@example.org",
        },
        {"orig:payload": json.dumps({"who": order}), "error": "kilroy is unknown"},
        {"size": "70000", "head": "emailkilroy@example.org", "email": "kilroy@example.org"},
    ]
    said = [{"entry_id": "1-1", "reason": "failed", **each} for each in letters]
    ids = [deployment.redis.xadd(deployment.dead_letters, each).decode() for each in said]  # type: ignore[arg-type, union-attr]
    deployment.submit([good, bad])
    with running(deployment, **tried) as replica:
        eventually(deployment.all_settled)
        eventually(lambda: ask(replica.server.port, "/ready")[0] == 200)
        _, _, page = ask(replica.server.port, "/orders?limit=2")

    command(deployment, "dead", "replay", ids[0], "--set", "email=kilroy@x", "--yes", **tried)
    commands = [("dead", "show", each) for each in ids] + [
        ("dead", "list", "--state", "all"),
        ("show", "good"),
    ]
    shown = [
        command(deployment, *each, *more, **tried).stdout for each in commands for more in ((), ("--json",))
    ]

    assert [text for text in shown if "kilroy" in text] == []
    assert sum("(hidden" in text for text in shown) >= 6
    assert {row["client_id"] for row in json.loads(page)["orders"]} == {"(hidden)"}
    assert "kilroy" in command(deployment, "dead", "show", ids[0]).stdout


@pytest.mark.effect_of(allow_volatile=True)
def test_status_needs_nobody_for_a_redis_that_may_lose_what_it_has_where_that_is_meant(
    own_deployment: Deployment, tried: dict[str, Any]
) -> None:
    own_deployment.redis.config_set("appendonly", "no")

    assert command(own_deployment, "status").exit_code == 1
    assert command(own_deployment, "status", **tried).exit_code == 0
