"""What can be planted in a simulated world."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from unittest.mock import patch

from msgspec import Struct

from tests.fakes import FakeStream
from tests.faults.model.history import Make
from tests.faults.model.replica import Parts
from tests.faults.model.world import World


class Defect(Struct, frozen=True):
    """What is wrong in the world. `instead` has functions in place of the worker's, by module and name."""

    parts: Parts = Parts()
    stream: type[FakeStream] = FakeStream
    instead: tuple[tuple[ModuleType, str, object], ...] = ()


@contextmanager
def planted(defect: Defect) -> Iterator[Make]:
    """Plant a defect for as long as this lasts; what is returned makes worlds that have it."""
    with ExitStack() as stack:
        for module, name, function in defect.instead:
            stack.enter_context(patch.object(module, name, function))
        yield partial(World, parts=defect.parts, stream=defect.stream)
