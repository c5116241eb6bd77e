"""Scripts touch no key that they were not given: services and clusters refuse others."""

import re

import pytest

from tests.strictness import INCLUDED
from tests.unit.test_scripts import SCRIPTS
from worker.stream.arguments import MOST_ARGUMENTS, in_parts
from worker.stream.scripts import source

CALL = re.compile(r"redis\.p?call\(('?\w+'?)(?:, ('?\w+(?:\[\w+\])?'?))?(?:, (\w+(?:\[\w+\])?))?")
NO_KEY = {"'INFO'", "'TIME'", "'PUBLISH'"}
KEY_IS_SECOND = {"'XINFO'", "'XGROUP'"}
# What is included names the keys of whoever includes it.
WHOLE = [name for name in SCRIPTS if name not in INCLUDED]
# Of parameters of functions: each is called with a key.
PARAMETERS = {"key", "stream"}


def keys_of(text: str) -> set[str]:
    """Return what a script calls the keys that it is given."""
    named = {
        name.strip()
        for names in re.findall(r"^local ([\w, ]+) = unpack\(KEYS\)", text, re.MULTILINE)
        for name in names.split(",")
    }
    for names, values in re.findall(r"^local ([\w, ]+) = (KEYS\[.*)$", text, re.MULTILINE):
        pairs = zip(names.split(","), values.split(","), strict=True)
        named |= {name.strip() for name, value in pairs if value.strip().startswith("KEYS[")}
    return named | set(re.findall(r"KEYS\[\w+\]", text)) | PARAMETERS


@pytest.mark.parametrize("name", WHOLE)
def test_script_calls_each_command_with_a_key_that_it_is_given(name: str) -> None:
    text = re.sub(r"--.*", "", source(name))
    keys = keys_of(text)

    for command, first, second in CALL.findall(text):
        if command in NO_KEY:
            continue
        key = second if command in KEY_IS_SECOND else first
        burying = re.search(rf"{re.escape(first)} and (\w+) or (\w+)", text)
        used = {burying[1], burying[2]} if burying and key not in keys else {key}
        assert used <= keys, (command, key)


@pytest.mark.parametrize("name", WHOLE)
def test_keys_that_functions_of_a_script_are_called_with_are_given(name: str) -> None:
    text = re.sub(r"--.*", "", source(name))
    for function in re.findall(r"local function (\w+)\((?:key|[\w, ]*, stream)\)", text):
        called = re.findall(rf"(?<!function )\b{function}\(([^()]+)\)", text)
        assert called
        # `since` has the key as the last of its two, all others as their first.
        place = -1 if function == "since" else 0
        assert {each.split(",")[place].strip() for each in called} <= keys_of(text)


def test_parts_have_all_in_order_and_each_fits_into_a_call() -> None:
    parts = list(in_parts(range(10_000), arguments_each=2))

    assert [each for part in parts for each in part] == list(range(10_000))
    assert max(map(len, parts)) == MOST_ARGUMENTS // 2
    assert list(in_parts([])) == []
