"""No setting without a test that sees its effect, at a value that is not the default."""

from collections.abc import Iterator
from types import ModuleType

from msgspec.structs import fields

from tests.integration.settings import (
    test_commands,
    test_credentials,
    test_execution,
    test_limits,
    test_names,
    test_pages,
    test_process,
    test_times,
)
from worker.settings import Settings

MODULES = (
    test_commands, test_credentials, test_execution, test_limits, test_names, test_pages, test_process,
    test_times,
)  # fmt: skip


def tried(module: ModuleType) -> Iterator[tuple[str, object]]:
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == "effect_of":
                yield from mark.kwargs.items()


def test_every_setting_has_a_test_of_its_effect_at_a_value_other_than_the_default() -> None:
    defaults = {field.name: field.default for field in fields(Settings)}
    values = [pair for module in MODULES for pair in tried(module)]

    assert {name for name, _ in values} == defaults.keys()
    assert [pair for pair in values if pair[1] == defaults[pair[0]]] == []


def test_no_two_settings_are_tried_at_one_number() -> None:
    numbers: dict[object, set[str]] = {}
    for module in MODULES:
        for name, value in tried(module):
            # Of what is on or off there is one other value.
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(value, set()).add(name)

    # Else a test would not see that one is read for the other.
    assert {number: names for number, names in numbers.items() if len(names) > 1} == {}
