"""Databases of another encoding than UTF-8: what they can hold they hold, the rest costs one order."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.commands import command
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from worker.domain.orders import Status

ORDERS = 12
FITS, FOREIGN = "Überraschung, ½ of it", "突破"


@contextmanager
def made_in(encoding: str, servers: Servers) -> Iterator[Deployment]:
    """Yield a migrated database of an encoding."""
    name = f"e{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        statement = (
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        connection.execute(statement.encode())
        with Deployment(servers, name, name) as deployment:
            assert command(deployment, "migrate").stdout == "schema: current\n"
            yield deployment
            deployment.redis.delete(*deployment.all_keys())
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def sent(deployment: Deployment, reason: str) -> None:
    orders = numbered_orders(ORDERS)
    orders[3]["reason"] = FITS
    orders[7]["reason"] = reason
    deployment.submit(orders)


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251", "EUC_KR"])
def test_order_that_the_database_can_not_hold_is_buried_alone(servers: Servers, encoding: str) -> None:
    foreign = FOREIGN if encoding != "EUC_KR" else "ไทย"
    with made_in(encoding, servers) as deployment:
        sent(deployment, foreign)
        fits = {"LATIN1": FITS}.get(encoding)

        with capture_logs() as logs, running(deployment, lease_ms=60_000) as made:
            eventually(deployment.all_settled)

        refused = {letter["order_id"]: letter for letter in deployment.letters()}
        rows = deployment.rows()
        assert refused.keys() == ({b"order-7"} if fits else {b"order-3", b"order-7"})
        assert {letter["reason"] for letter in refused.values()} == {b"database_rejected"}
        assert refused[b"order-7"]["orig:reason"] == foreign.encode()
        assert rows["order-7"].status is Status.DEAD
        assert "22P05" in (rows["order-7"].error_message or "")
        assert made.worker.tally.outages == 0
        assert any(entry.get("encoding") == encoding for entry in logs)
        if fits:
            assert rows["order-3"].labels.reason == fits
        assert_invariants(deployment, made.worker.tally)


def test_database_without_an_encoding_holds_all_text(servers: Servers) -> None:
    with made_in("SQL_ASCII", servers) as deployment:
        sent(deployment, FOREIGN)

        with capture_logs() as logs, running(deployment, lease_ms=60_000) as made:
            eventually(deployment.all_settled)
        looked = command(deployment, "status")
        audited = command(deployment, "audit")

        rows = deployment.rows()
        assert (rows["order-3"].labels.reason, rows["order-7"].labels.reason) == (FITS, FOREIGN)
        assert deployment.letters() == []
        assert "Traceback" not in looked.stdout + looked.stderr
        assert "schema current" in looked.stdout
        assert audited.exit_code == 0, audited.output
        assert not any("encoding" in entry for entry in logs)
        assert_invariants(deployment, made.worker.tally)
