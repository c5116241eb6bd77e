"""Whose row is whose, what marks there are, what commands say: for tests of several fleets and servers."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from tests.commands import command
from tests.harness import Deployment, numbered_orders
from worker.cli.status import Look

# What is asked of a database that others keep busy may take longer than replicas under test are given.
PATIENT: dict[str, Any] = {"lease_ms": 30_000, "transaction_timeout_s": 10}
# What the version before keeps in Redis, besides marks: all there is when this version starts after it.
KEYS_OF_BEFORE = ("trimmed", "lost", "repairs", "again", "repaired")


@dataclass(frozen=True)
class Row:
    """A row as SQL shows it, whichever fleet it is of."""

    order_id: str
    entry_id: str
    source: str
    status: str


def rows(deployment: Deployment) -> list[Row]:
    """Every row of a database, by order id."""
    query = text("SELECT order_id, entry_id, source, status FROM orders ORDER BY order_id")
    with deployment.database.transaction() as connection:
        return [Row(*row) for row in connection.execute(query)]


def small_order(order_id: str, quantity: str = "1") -> dict[str, str]:
    """Return an order of few fields."""
    return {"order_id": order_id, "symbol": "BTCUSDT", "side": "BUY", "quantity": quantity}


def entry_ids(count: int) -> list[str]:
    """Return ids as Redis would just have given to entries that came fast: several in each millisecond."""
    first_ms = time.time_ns() // 1_000_000 - 2 * count
    return [f"{first_ms + i // 3}-{i % 3}" for i in range(count)]


def alike_by_halves(count: int) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield pairs of orders under two order ids: of every second pair both hold the same."""
    made = numbered_orders(count + 1)
    for i in range(count):
        other = made[i] if i % 2 == 0 else made[i + 1]
        yield {**made[i], "order_id": f"first-{i}"}, {**other, "order_id": f"second-{i}"}


def result_ids(deployment: Deployment) -> list[str]:
    """The order id of each result, in order."""
    return [result["order_id"] for result in deployment.published()]


def marks(deployment: Deployment) -> list[str]:
    """The keys of a deployment's settled marks: those of its source, and those the version before made."""
    return [key for key in deployment.mark_keys if deployment.redis.exists(key)]


def delete_marks(deployment: Deployment, *, and_the_group: bool = False) -> None:
    """Delete the settled marks, at one instant, and the group with them where that is asked for."""
    keys = marks(deployment)
    assert keys, "there are no marks to delete"
    with deployment.redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(*keys)
        if and_the_group:
            pipeline.xgroup_destroy(deployment.orders, deployment.group)
        pipeline.execute()


def as_the_version_before_left_it(deployment: Deployment) -> None:
    """Have rows, marks and keys stand as if the version before had settled what is settled."""
    with deployment.database.transaction() as connection:
        connection.execute(text("UPDATE orders SET source = ''"))
        connection.execute(text("DELETE FROM order_sources"))
    orders, results, letters = deployment.orders, deployment.results, deployment.dead_letters
    before = deployment.marks_of_before
    deployment.redis.zrem(before, "begun")
    known = {orders, results, letters, f"{letters}:state", before}
    known |= {f"{orders}:{name}:{deployment.group}" for name in KEYS_OF_BEFORE}
    others = {key.decode() for key in deployment.all_keys()} - known
    if others:
        deployment.redis.delete(*others)


def group_is_through(deployment: Deployment) -> bool:
    """Whether the deployment's group has had everything and holds nothing, whatever other groups have."""
    groups: Any = deployment.redis.xinfo_groups(deployment.orders)
    last = deployment.redis.xinfo_stream(deployment.orders)["last-generated-id"]
    delivered = [each["last-delivered-id"] for each in groups if each["name"].decode() == deployment.group]
    return delivered == [last] and deployment.pending() == 0


def status(deployment: Deployment, **overrides: Any) -> tuple[int, Any]:
    """Return exit code and object of `worker status --json`.

    It works beside a replica of this process, too, whose logs would be in its way.
    """
    look = Look(deployment.settings(**overrides))
    return look.exit_code, json.loads(look.json())


def has_repaired(deployment: Deployment, consumer: str, **overrides: Any) -> bool:
    """Whether the last repair that came to its end was that of a replica."""
    last = status(deployment, **overrides)[1]["redis"]["repair"]["last"]
    return last is not None and last["by"] == consumer


def not_to_be_known(deployment: Deployment, **overrides: Any) -> int:
    """How many orders' results, as `worker status` says, nobody can know to be published: 0 where none."""
    _, found = status(deployment, **overrides)
    texts = [
        each["text"]
        for each in found["verdict"]["conditions"]
        if each["needs_person"] and "worker audit" in (each["command"] or "")
    ]
    return sum(int(re.findall(r"[\d,]+", each)[0].replace(",", "")) for each in texts)


def orders_not_to_be_known(deployment: Deployment, *arguments: str, **overrides: Any) -> list[str]:
    """Which orders an audit names as those of which nobody can know that, and nothing else is wrong."""
    _, findings = audit(deployment, *arguments, **overrides)
    others = [each for each in findings if "nobody can know" not in each["what"]]
    assert not others, f"{len(others)} other findings: {others[:3]}"
    return sorted(each["order_id"] or each["entry_id"] for each in findings)


def deletions_are_told(deployment: Deployment) -> bool:
    """Whether the server counts what was added, and can say that nothing was deleted. Before 7.0 it can't."""
    return "max-deleted-entry-id" in deployment.redis.xinfo_stream(deployment.results)


def audit(deployment: Deployment, *arguments: str, **overrides: Any) -> tuple[int, list[dict[str, Any]]]:
    """Return exit code and findings of `worker audit --json`."""
    settings: dict[str, Any] = {**PATIENT, **overrides}
    done = command(deployment, "audit", "--json", *arguments, **settings)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.exit_code, [line["finding"] for line in lines if "finding" in line]


def assert_audits_are_clean(deployments: Iterable[Deployment], **overrides: Any) -> None:
    """Assert that an audit of each finds nothing."""
    for deployment in deployments:
        code, findings = audit(deployment, **overrides)
        assert (code, findings) == (0, []), f"{deployment.name}: {len(findings)} found: {findings[:3]}"
