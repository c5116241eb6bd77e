"""Logs at INFO hold nothing an entry says but its order id, and no secret, whatever becomes of it."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.executors import NOTES
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.venue import venue
from worker.domain.orders import Labels
from worker.ops import configure_logs

SAID = "kilroy"
QUANTITY, PRICE = "7319.44556677", "9182.73645546"
SECRETS = (SAID, QUANTITY, PRICE, "KILROY")
LABELS = {name: f"{name}-{SAID}" for name in Labels.__struct_fields__ if name != "client_id"}


def sound(order_id: str, **changes: str) -> dict[str, str]:
    """An order that says the same word in every field."""
    order = {
        "order_id": order_id,
        "symbol": "KILROY/USD",
        "side": "BUY",
        "quantity": QUANTITY,
        "price": PRICE,
    }
    return {**order, **LABELS, "client_id": SAID, SAID: SAID, **changes}


def entries() -> Iterator[tuple[bytes | str, ...]]:
    """One of each kind, as raw fields."""
    flat: list[dict[str, str]] = [
        sound("good"), sound("good"), sound("good", quantity=f"{QUANTITY}1"),
        sound("side", side=SAID), sound("symbol", symbol=f"{SAID}!"), sound("quantity", quantity=SAID),
        sound("price", price=f"-{PRICE}"), sound("stop", stop_loss_pct=SAID),
        sound("digits", quantity=f"{QUANTITY}e40"),
        sound("type", type=SAID), sound(f"{SAID}!"), sound("nul", reason=f"{SAID}\0"),
        sound("large", reason=SAID * 20_000), sound("both", payload=f'{{"reason": "{SAID}"}}'),
        sound("raises", client_id=f"poison-{SAID}"), sound("rejects", client_id="reject"),
    ]  # fmt: skip
    for order in flat:
        yield tuple(part for pair in order.items() for part in pair)
    for payload in (
        f'{{"{SAID}": ', f'"{SAID}"', f'{{"reason": NaN, "{SAID}": 1}}', f'{{"{SAID}": 1, "{SAID}": 2}}',
        f'{{"symbol": ["{SAID}"]}}', "[" * 99 + f'"{SAID}"' + "]" * 99,
    ):  # fmt: skip
        yield ("payload", payload)
    yield ("payload", SAID.encode() + b"\xff")
    yield ("symbol", SAID, "symbol", SAID)
    yield (SAID, SAID)


def logged() -> StringIO:
    """What is logged from now on, at INFO."""
    out = StringIO()
    configure_logs(level="INFO", form="json", stream=out)
    return out


def passwords(deployment: Deployment) -> list[str]:
    urls = (deployment.servers.redis_url, deployment.database_url, "http://someone:hidden@host")
    return [found for url in urls if (found := urlsplit(url).password)]


@pytest.mark.parametrize("executor", ["paper", "tests.faults.executors:Raising", "venue"])
def test_logs_hold_nothing_that_entries_say_and_no_secret(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    deployment.submit([sound("poisonous"), *numbered_orders(1)])
    take_and_vanish(deployment, 1, deliveries=9)
    for parts in entries():
        deployment.add_raw(*parts)

    out = logged()
    with venue(tmp_path, deduplicating=False) as at:
        url = at.url.replace("://", "://someone:hidden@")
        settings: dict[str, Any] = {"executor": executor, "venue_url": url, "max_deliveries": 3}
        with running(deployment, **settings):
            eventually(deployment.all_settled)

    log = out.getvalue()
    # Something of every kind has happened.
    reasons = {letter["reason"].decode() for letter in deployment.letters()}
    assert reasons >= {"poison", "conflict", "undecodable", "ambiguous", "too_large"}
    assert {result["status"] for result in deployment.published()} >= {"FILLED", "REJECTED"}
    assert '"dead letter"' in log
    assert [line for line in log.splitlines() if any(each in line for each in SECRETS)] == []
    assert [each for each in passwords(deployment) if each in log] == []


def test_logs_hold_nothing_of_hidden_fields_that_an_executor_quotes(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    quoted = f"poison-{SAID}"
    deployment.submit([{**numbered_orders(1)[0], "client_id": quoted}])

    out = logged()
    with running(
        deployment, executor="tests.faults.executors:Quoting", max_deliveries=3, hidden_fields="client_id"
    ):
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert quoted in letter["error"].decode()
    told = [line for line in out.getvalue().splitlines() if "no account of (hidden) for" in line]
    assert {json.loads(line)["event"] for line in told} == {"executor failed", "dead letter"}
    assert quoted not in out.getvalue()
