"""Finding the executor that the settings name, and refusing what can't be trusted to run twice."""

import pytest

from tests.builders import filled, order
from worker.domain.errors import ConfigurationError
from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor, load

HERE = "tests.unit.test_registry"


class Pure:
    """An executor as others write them."""

    pure = True

    def execute(self, made: Order) -> Execution:
        return filled(made)


class WithEffects:
    """Does not say that executing again is invisible."""

    def execute(self, made: Order) -> Execution:
        return filled(made)


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
    return load(name, paper_success_rate=1.0, paper_latency_s=0.0)


def test_paper_is_found_by_its_name() -> None:
    assert isinstance(found("paper"), PaperExecutor)


def test_executor_is_found_by_its_module_and_name() -> None:
    executor = load(f"{HERE}:Pure", paper_success_rate=1.0, paper_latency_s=0.0)

    assert executor.execute(order("a")) == filled(order("a"))


@pytest.mark.parametrize("name", ["", "live", "module:", ":Name", ":", "a.b.c"])
def test_name_of_neither_form_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* is neither paper nor"):
        found(name)


@pytest.mark.parametrize("name", ["no.such.module:Name", f"{HERE}:Missing", f"{HERE}:Broken", f"{HERE}:HERE"])
def test_executor_that_can_not_be_made_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* can't be loaded: "):
        found(name)


@pytest.mark.parametrize("name", ["WithEffects", "HalfPure", "WithoutExecute"])
def test_executor_that_is_not_pure_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_EXECUTOR: .* declare pure = True"):
        found(f"{HERE}:{name}")
