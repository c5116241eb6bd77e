"""Servers, keys, names and fields: a replica works where its settings say, and under the names they say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from sqlalchemy import select, text

from tests.harness import Deployment, Servers, eventually, numbered_orders
from tests.inprocess import running
from tests.skips import Reason, skip
from worker.domain.fleets import source_of
from worker.store.tables import order_sources, orders
from worker.wire.names import derived_order_id


def another_database(deployment: Deployment) -> int:
    """The number of a database of Redis that is not the deployment's own."""
    own = deployment.redis.connection_pool.connection_kwargs.get("db", 0)
    return 0 if own else 1


@contextmanager
def elsewhere(deployment: Deployment) -> Iterator[Deployment]:
    """The same deployment on another database of the same Redis, which is left as it was."""
    url = urlunsplit(urlsplit(deployment.servers.redis_url)._replace(path=f"/{another_database(deployment)}"))
    try:
        with redis.Redis.from_url(url) as client:
            client.ping()
    except redis.ResponseError as error:
        skip(Reason.ONE_DATABASE, str(error))
    with Deployment(Servers(url, deployment.servers.database_url), deployment.name, deployment.name) as made:
        try:
            yield made
        finally:
            keys = made.all_keys()
            made.redis.delete(*keys, made.name)


def clients(deployment: Deployment, database: int) -> set[str]:
    """The names of the connections to a database of Redis."""
    return {each["name"] for each in deployment.redis.client_list() if each["db"] == str(database)}


@pytest.mark.effect_of(redis_url=..., database_url=...)
def test_loop_and_checks_work_on_the_servers_that_are_named(deployment: Deployment) -> None:
    ours = text("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()")

    with elsewhere(deployment) as there, running(there):
        there.submit(numbered_orders(1))
        eventually(there.all_settled)
        eventually(
            lambda: (
                clients(there, another_database(deployment)) >= {"orders-worker-loop", "orders-worker-checks"}
            )
        )
        with deployment.database.transaction() as connection:
            applications = set(connection.scalars(ours))

        assert applications >= {"orders-worker-loop", "orders-worker-checks"}
        assert list(there.rows()) == ["order-0"]
        assert not deployment.redis.exists(there.results)


@pytest.mark.effect_of(
    orders_stream="in", results_stream="out", dead_letter_stream="bad", group="desk", consumer="anna"
)
def test_streams_group_and_consumer_have_the_names_that_are_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    names: dict[str, Any] = {
        setting: deployment.key(name) if setting.endswith("stream") else name
        for setting, name in tried.items()
    }
    stream = names["orders_stream"]
    source = source_of(stream)
    unnamed = {name: value for name, value in numbered_orders(1)[0].items() if name != "order_id"}
    entry_id = str(deployment.redis.xadd(stream, unnamed), "ascii")  # type: ignore[arg-type]
    deployment.redis.xadd(stream, {"payload": "{"})

    with running(deployment, **names):
        eventually(lambda: deployment.redis.xlen(names["dead_letter_stream"]) == 1)
        (group,) = deployment.redis.xinfo_groups(stream)
        (consumer,) = deployment.redis.xinfo_consumers(stream, "desk")

    assert group["name"] == b"desk"
    assert consumer["name"].startswith(b"anna-")
    ((_, result),) = deployment.entries(names["results_stream"])
    # Named after the stream, since it has no id of its own.
    assert dict(result)["order_id"].decode() == derived_order_id(source, entry_id)
    ((_, letter),) = deployment.entries(names["dead_letter_stream"])
    assert dict(letter)["consumer"] == consumer["name"]
    assert deployment.entries(deployment.results) == deployment.entries(deployment.dead_letters) == []
    assert deployment.redis.exists(f"{names['results_stream']}:settled:{source}")


@pytest.mark.effect_of(source="desk-7")
def test_rows_marks_and_names_of_orders_are_those_of_the_source_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    unnamed = {name: value for name, value in numbered_orders(1)[0].items() if name != "order_id"}
    (entry_id,) = deployment.submit([unnamed])

    with running(deployment, **tried):
        eventually(deployment.all_settled)
        with deployment.database.transaction() as connection:
            rows = [tuple(row) for row in connection.execute(select(orders.c.order_id, orders.c.source))]
            seen = [
                tuple(row)
                for row in connection.execute(select(order_sources.c.source, order_sources.c.results))
            ]

    assert rows == [(f"desk-7:{entry_id}", "desk-7")]
    assert seen == [("desk-7", deployment.results)]
    assert deployment.redis.zscore(f"{deployment.results}:settled:desk-7", entry_id) is not None


@pytest.mark.effect_of(order_id_field="client_id")
def test_order_is_known_by_the_field_that_is_set(deployment: Deployment, tried: dict[str, Any]) -> None:
    order = {**numbered_orders(1)[0], "client_id": "mine"}
    deployment.submit([order, {**order, "order_id": "order-1"}])

    with running(deployment, **tried) as made:
        eventually(deployment.all_settled)

    assert list(deployment.rows()) == ["mine"]
    assert made.worker.tally.duplicate == 1


def heard(listener: Any) -> list[dict[str, str]]:
    """Everything that has been published on a channel."""
    found = iter(lambda: listener.get_message(timeout=1), None)
    return [json.loads(message["data"]) for message in found if message["type"] == "message"]


@pytest.mark.effect_of(results_channel="copies")
def test_results_go_to_the_channel_that_is_set_from_the_loop_and_from_a_repair(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    channel = deployment.key(tried["results_channel"])
    with redis.Redis.from_url(deployment.servers.redis_url) as client, client.pubsub() as listener:
        listener.subscribe(channel)
        deployment.submit(numbered_orders(2))

        with running(deployment, results_channel=channel):
            eventually(deployment.all_settled)
        deployment.redis.delete(deployment.results, *deployment.mark_keys)
        with running(deployment, results_channel=channel):
            eventually(lambda: len(deployment.published()) == 2)
        copies = heard(listener)

    assert copies == deployment.published() * 2
