"""The help of the commands teaches: what each is for, and lines that can be typed."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.processes import ROOT
from tests.reference import COMMANDS, PAGE, commands, examples
from worker.cli import PURPOSES, main

FOLDER = ROOT / "worker" / "cli"


def test_help_names_each_command_once_under_what_it_is_for() -> None:
    said = CliRunner().invoke(main, ["--help"]).stdout

    commands_named = re.findall(r"^  ([a-z]+)  +[A-Z]", said, re.MULTILINE)
    assert re.findall(r"^([A-Z][a-z ]+):$", said, re.MULTILINE) == ["Options", *PURPOSES]
    assert commands_named == [name for names in PURPOSES.values() for name in names]
    assert "..." not in said.partition("Run:")[2]


def test_every_file_of_a_command_is_a_command_of_the_help() -> None:
    files = {
        path.stem for path in FOLDER.glob("*.py") if "@click.command" in path.read_text(encoding="utf-8")
    }

    assert files | {"dead"} == {path[0] for path in COMMANDS if path}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_examples_of_a_help_are_lines_that_the_command_understands(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orders.jsonl").touch()

    lines = examples(COMMANDS[path])

    assert lines != []
    for line in lines:
        words = _words(line)
        called = next(each for each in sorted(COMMANDS, key=len, reverse=True) if words[: len(each)] == each)
        assert called[: len(path)] == path
        # What can't be meant raises.
        with COMMANDS[called].make_context(" ".join(called), [*words[len(called) :]]):
            pass


def _words(line: str) -> tuple[str, ...]:
    """What stands behind `worker` in a line for a shell, up to what explains it."""
    typed = re.split(r"   ", line)[0].rpartition("| ")[2]
    words = shlex.split(typed)
    return tuple(words[words.index("worker") + 1 :])


def test_page_of_the_commands_is_what_they_say() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == commands(), "run: python -m tests.reference"


@pytest.mark.parametrize(
    ("words", "next_line"),
    [
        (["audit", "--dry-run"], "worker audit --repair --dry-run"),
        (["replay"], "`worker pending`"),
        (["replay", "one"], "`worker pending`"),
        (["dead", "replay"], "`worker dead list`"),
        (["dead", "discard", "one"], "`worker dead list`"),
        (["fly"], "worker --help"),
    ],
)
def test_wrong_usage_says_what_to_type_next(words: list[str], next_line: str) -> None:
    said = CliRunner().invoke(main, words, prog_name="worker")

    assert said.exit_code == 2
    assert next_line in " ".join(said.stderr.split())
