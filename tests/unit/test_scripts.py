"""What the scripts must not do, whatever they are given: only retention takes entries away."""

import re
from importlib.resources import files

import pytest

from worker.stream.scripts import source

SCRIPTS = sorted(
    each.name.removesuffix(".lua")
    for each in files("worker.stream.scripts").iterdir()
    if each.name.endswith(".lua")
)
TAKES_AWAY = re.compile(r"'(XTRIM|XDEL|XACKDEL|XDELEX|DEL|UNLINK|EXPIRE|PEXPIRE|MAXLEN|MINID)'")


# A repair that has ended leaves no note of what it was about to do, and what repairs note ends; a note for
# people is forgotten; retention trims orders and results by id alone, and takes closed letters one by one.
MAY = {
    "repairing": {"DEL", "PEXPIRE"},
    "restore": {"PEXPIRE"},
    "set_aside": {"PEXPIRE"},
    "retain": {"XTRIM", "MINID"},
    "forget_letters": {"XDEL"},
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_takes_nothing_away_but_what_is_its_own_to_take(name: str) -> None:
    assert set(TAKES_AWAY.findall(source(name))) == MAY.get(name, set())
