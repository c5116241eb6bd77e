"""`worker dead` where no server is needed: what is refused before anything is asked or done."""

import pytest
from click.testing import CliRunner, Result

from worker.cli import main

NOWHERE = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/nothing"}


def dead(*arguments: str) -> Result:
    return CliRunner(env=NOWHERE).invoke(main, ["dead", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "--yes"),
        ("replay", "1-1", "--all", "--yes"),
        ("replay", "1-1", "--reason", "failed", "--yes"),
        ("replay", "--all"),
        ("discard", "--all"),
        ("replay", "--all", "--yes", "--limit", "0"),
        ("replay", "1", "--yes"),
        ("replay", "-1-1", "--yes"),
        ("replay", "1-\u0661", "--yes"),
        ("discard", "18446744073709551616-0", "--yes"),
        ("replay", "1-1", "--yes", "--set", "quantity"),
        ("replay", "1-1", "--yes", "--set", "=1"),
        ("replay", "1-1", "--yes", "--set", "replay_of=2-1"),
        ("replay", "1-1", "--yes", "--set", "order_id=not an id"),
        ("replay", "1-1", "--yes", "--set", "reason=\udcff"),
        ("show", "\x1b[2J"),
        ("list", "--since", "-1"),
        ("list", "--since", "1w"),
        ("list", "--since", "nan"),
        ("list", "--state", "lost"),
    ],
)
def test_what_can_not_be_meant_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = dead(*arguments)

    assert done.exit_code == 2
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("arguments", [("list",), ("show", "1-1"), ("replay", "--all", "--yes")])
def test_redis_that_is_away_is_one_line_and_exit_code_3(arguments: tuple[str, ...]) -> None:
    done = dead(*arguments)

    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 1
