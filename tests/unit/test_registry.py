"""Finding the executor that the settings name, and refusing what can't be trusted to run twice."""

from typing import TypedDict

import pytest

from tests.builders import filled, order
from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError
from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor, load
from worker.execution.venue import VenueExecutor

HERE = "tests.unit.test_registry"


class Options(TypedDict):
    """What the executors that the worker brings along are made with."""

    paper_success_rate: float
    paper_latency_s: float
    venue: Endpoint | None
    execute_timeout_s: float


OPTIONS: Options = {
    "paper_success_rate": 1.0, "paper_latency_s": 0.0, "venue": None, "execute_timeout_s": 1.0,
}  # fmt: skip


class Pure:
    """An executor as others write them."""

    pure = True

    def execute(self, made: Order) -> Execution:
        return filled(made)


class WithEffects:
    """Does not say that executing again is invisible."""

    def execute(self, made: Order) -> Execution:
        return filled(made)


class Findable(WithEffects):
    """Does not say so either, but its venue can be asked."""

    def find(self, order_id: str) -> Execution | None:
        return filled(order(order_id))


class FindableInName(WithEffects):
    """Offers something else under that name."""

    find = "somewhere"


class HalfPure(WithEffects):
    """Says something that is not a plain yes."""

    pure = "yes"


class WithoutExecute:
    """Offers nothing."""

    pure = True


class Broken(Pure):
    """Can't be made."""

    def __init__(self) -> None:
        raise OSError("no venue configured")


def found(name: str) -> object:
    return load(name, **OPTIONS)


def test_paper_is_found_by_its_name() -> None:
    assert isinstance(found("paper"), PaperExecutor)


def test_executor_is_found_by_its_module_and_name() -> None:
    executor = load(f"{HERE}:Pure", **OPTIONS)

    assert executor.execute(order("a")) == filled(order("a"))


@pytest.mark.parametrize("name", ["", "live", "module:", ":Name", ":", "a.b.c"])
def test_name_of_neither_form_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* is neither paper nor venue nor"):
        found(name)


@pytest.mark.parametrize("name", ["no.such.module:Name", f"{HERE}:Missing", f"{HERE}:Broken", f"{HERE}:HERE"])
def test_executor_that_can_not_be_made_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* can't be loaded: "):
        found(name)


def test_package_that_is_not_found_is_said_to_be_missing_and_a_name_within_one_is_not() -> None:
    with pytest.raises(ConfigurationError, match=r"or name its folder in PYTHONPATH$"):
        found("no.such.module:Name")
    with pytest.raises(ConfigurationError, match=r"has no attribute 'Missing'$"):
        found(f"{HERE}:Missing")


def test_executor_whose_venue_can_be_asked_is_found() -> None:
    assert isinstance(found(f"{HERE}:Findable"), Findable)


def test_venue_is_found_by_its_name() -> None:
    at_a_venue: Options = {**OPTIONS, "venue": Endpoint.fixed("http://venue")}

    assert isinstance(load("venue", **at_a_venue), VenueExecutor)


def test_venue_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_VENUE_URL: is not set"):
        found("venue")


@pytest.mark.parametrize("name", ["WithEffects", "HalfPure", "FindableInName"])
def test_executor_that_is_neither_pure_nor_can_be_asked_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^WORKER_EXECUTOR: .* declare pure = True or offer find\(order_id\)"
    ) as caught:
        found(f"{HERE}:{name}")

    assert str(caught.value).isprintable()


def test_executor_that_can_not_execute_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* has no execute method"):
        found(f"{HERE}:WithoutExecute")
