"""A running replica held to docs/openapi.yaml: queries that the file allows, and queries that it does not."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from tests.faults.fuzz.entries import entry
from tests.faults.fuzz.seeds import MORE, SEED, drawn
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import ROOT
from tests.unit.test_server import ask
from worker.store.queries import RecentOrder

QUERIES = 60
SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")
PATHS = ("/health", "/ready", "/status", "/metrics", "/orders")


def test_every_path_of_the_description_and_no_other_is_served() -> None:
    assert sorted(SCHEMA) == sorted(PATHS)


def test_order_of_the_description_has_the_fields_that_are_shown() -> None:
    described = SCHEMA.raw_schema["components"]["schemas"]["Order"]["properties"]

    assert tuple(described) == RecentOrder.__struct_fields__


def asked(path: str, mode: GenerationMode, port: int, seen: Counter[int]) -> Callable[[], None]:
    """Return what asks for a page in generated ways, and checks each answer against the description."""

    @seed(SEED)
    @settings(
        max_examples=QUERIES * (MORE if CHAOS else 1) // (1 if path == "/orders" else 10),
        phases=[Phase.explicit, Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(case=SCHEMA[path]["GET"].as_strategy(generation_mode=mode))
    def ask_generated(case: schemathesis.Case[Any]) -> None:
        answer = case.call_and_validate(base_url=f"http://127.0.0.1:{port}", timeout=10)
        seen[answer.status_code] += 1

    return ask_generated


def test_running_replica_answers_as_described(deployment: Deployment) -> None:
    seen = Counter[int]()
    deployment.submit(numbered_orders(150))
    for number in range(50):
        deployment.add_raw(*entry(drawn("entry", number), number))
    with running(deployment) as replica:
        port = replica.server.port
        eventually(deployment.all_settled)
        eventually(lambda: ask(port, "/ready")[0] == 200)
        for path in PATHS:
            asked(path, GenerationMode.POSITIVE, port, seen)()
        asked("/orders", GenerationMode.NEGATIVE, port, seen)()

    assert min(seen[200], seen[400]) > QUERIES // 4
    assert set(seen) == {200, 400}
    record("fuzz", "openapi", requests=seen.total(), seed=SEED, answers=seen)
