"""The executors of docs/write-an-executor.md do what their page says."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.builders import filled, order
from tests.fakes import Bench, FakeVenue
from worker.domain.deliveries import Settled
from worker.domain.errors import VenueUnavailable
from worker.domain.orders import Execution, Order, Status
from worker.execution import load

PAGE = Path(__file__).parents[2] / "docs" / "write-an-executor.md"
MODULE = "the_page"


class MyVenue:
    """What stands for a venue of the reader's: it can be away, and knows orders by their keys."""

    def __init__(self) -> None:
        self.book: dict[str, Execution] = {}
        self.is_open = True

    def send(self, *, key: str, order: Order) -> Execution:
        if not self.is_open:
            raise ConnectionRefusedError("closed")
        self.book[key] = filled(order)
        return self.book[key]

    def look_up(self, key: str) -> Execution | None:
        if not self.is_open:
            raise OSError("closed")
        return self.book.get(key)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module made of the page's code."""
    module = types.ModuleType(MODULE)
    module.__dict__.update({"MyVenue": MyVenue, "execution_of": lambda answer: answer})
    for block in re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        # Whether its tests pass is seen where they are run.
        if block.startswith("# test_"):
            continue
        exec(compile(block, str(PAGE), "exec"), module.__dict__)  # noqa: S102  our own page
    monkeypatch.setitem(sys.modules, MODULE, module)
    return module


def loaded(name: str) -> Any:
    return load(f"{MODULE}:{name}", paper_success_rate=1, paper_latency_s=0, venue=None, execute_timeout_s=1)


@pytest.mark.usefixtures("page")
def test_pure_executor_of_the_page_is_accepted_and_gives_the_same_execution_again() -> None:
    executor = loaded("AtTheLimit")

    assert executor.execute(order()) == executor.execute(order())
    assert executor.execute(order()).status is Status.FILLED
    assert executor.execute(order(price=None)).status is Status.REJECTED


@pytest.mark.usefixtures("page")
def test_outside_executor_of_the_page_is_accepted_and_does_what_it_must_promise() -> None:
    executor = loaded("AtMyVenue")

    before = executor.find("order-1")
    sent = executor.execute(order())

    assert before is None
    assert executor.find("order-1") == sent
    executor.venue.is_open = False
    with pytest.raises(VenueUnavailable):
        executor.execute(order())
    with pytest.raises(VenueUnavailable):
        executor.find("order-1")


@pytest.mark.usefixtures("page")
def test_outside_executor_of_the_page_carries_an_order_through() -> None:
    executor = loaded("AtMyVenue")
    stand_in = FakeVenue(executor.execute)
    bench = Bench(executor=stand_in)
    bench.submit("a")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].status is Status.FILLED
    assert executor.find("a") is not None
