"""The pages of a replica whose servers are away: at once, to many at a time, and without a word too many."""

import http.client
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from local import LocalPostgres
from tests.harness import Deployment, busyness, eventually, numbered_orders
from tests.inprocess import running
from tests.unit.test_server import ask


def scrape(port: int, paths: Sequence[str]) -> list[tuple[str, int, float]]:
    """Ask for pages over one connection that is kept open, as Prometheus does; tell how long each took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        found = []
        for path in paths:
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            found.append((path, answer.status, time.monotonic() - began))
        return found
    finally:
        connection.close()


def test_a_hundred_scrapes_at_once_are_answered_within_a_second_while_postgresql_is_down(
    own_deployment: Deployment, own_postgres: LocalPostgres
) -> None:
    with running(own_deployment) as made:
        port = made.server.port
        eventually(lambda: ask(port, "/ready")[0] == 200)
        own_postgres.stop()
        own_deployment.submit(numbered_orders(10))
        eventually(lambda: ask(port, "/ready")[0] == 503)

        with ThreadPoolExecutor(100) as clients:
            found = [
                each
                for answers in clients.map(
                    lambda _: scrape(port, ["/health", "/ready", "/orders"]), range(100)
                )
                for each in answers
            ]

        own_postgres.start()
        eventually(own_deployment.all_settled)

    assert Counter((path, status) for path, status, _ in found) == {
        ("/health", 200): 100,
        ("/ready", 503): 100,
        ("/orders", 503): 100,
    }
    assert max(seconds for _, _, seconds in found) < busyness()


def test_pages_and_labels_show_nothing_of_what_entries_say(deployment: Deployment) -> None:
    secret = "said-by-an-entry"
    deployment.add_raw("payload", f'{{"reason": "{secret}", ')
    deployment.add_raw("symbol", f"{secret}!", "side", secret, "quantity", secret, "reason", secret)
    deployment.add_raw("symbol", "A", "side", "BUY", "quantity", "1", secret, "1")

    with running(deployment) as made:
        eventually(deployment.all_settled)
        eventually(lambda: b'"results": 2' in ask(made.server.port, "/status")[2])
        bodies = {
            path: ask(made.server.port, path)[2]
            for path in (
                "/health",
                "/ready",
                "/status",
                "/metrics",
                "/orders",
                f"/{secret}",
                f"/orders?{secret}=1",
            )
        }

    assert all(bodies.values())
    assert not [path for path, body in bodies.items() if secret.encode() in body]
