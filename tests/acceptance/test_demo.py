"""`make demo` as somebody sees it: the whole story, its end when something is wrong, nothing left of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from local.process_table import process_table
from tests.harness import eventually
from tests.processes import ROOT

LONG = pytest.mark.timeout(600)
# A guard lets a server end in good order before it kills it.
GUARDS_LIMIT_S = 20


class Demo:
    """A demo without a terminal: what it has printed so far, and the processes that it has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: list[str] = []
        self.started: set[int] = set()
        # Servers that the user has are none of the demo's business.
        environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.demo", "--quick"],
            cwd=ROOT,
            env={**environ, "REDIS_URL": "redis://127.0.0.1:1/0", "WORKER_GROUP": "mine"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read_until(self, text: str) -> str:
        """Return the first line that has a text in it."""
        for line in self._lines():
            if text in line:
                return line
        raise AssertionError(f"{text!r} was never said:\n" + "".join(self.printed))

    def read(self) -> str:
        """Return all that was printed, once it has ended."""
        for _ in self._lines():
            pass
        self.process.wait()
        return "".join(self.printed)

    def redis(self) -> Redis:
        """A client of the demo's own Redis."""
        (server,) = self.folder.glob("orders-worker-demo-*/redis")
        port, password = ((server / name).read_text(encoding="utf-8") for name in ("port", "password"))
        return Redis(port=int(port), password=password, decode_responses=True)

    def has_left_nothing(self) -> bool:
        """Whether its processes are gone, and its folder too."""
        return not (self.started & process_table().keys() or list(self.folder.glob("orders-worker-demo-*")))

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            self.started |= self._descendants()
            yield line

    def _descendants(self) -> set[int]:
        table, found = process_table(), {self.process.pid}
        while more := {pid for pid, row in table.items() if row.parent in found} - found:
            found |= more
        return found - {self.process.pid}


@contextmanager
def demo_in(folder: Path) -> Iterator[Demo]:
    """Start a demo, and kill it where it has not ended by itself."""
    demo = Demo(folder)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()
        assert demo.process.stdout is not None
        demo.process.stdout.close()


@LONG
def test_demo_tells_its_story_ends_by_itself_and_leaves_nothing(tmp_path: Path) -> None:
    with demo_in(tmp_path) as demo:
        story = demo.read()

    lines = [" ".join(line.split()) for line in story.splitlines()]
    assert demo.process.returncode == 0, story
    assert len(demo.started) > 8
    assert demo.has_left_nothing()
    for told in (
        "replica 1 is dead, and held ",
        "replica 2 has taken over all ",
        "$ worker status",
        "Needs you: PostgreSQL does not answer",
        "was charged no delivery for it. All orders have their result now.",
        " processes down, each time with fewer orders beside it",
        " poison demo-",
        " conflict demo-0001 ",
        "--set symbol=BTCUSDT --yes",
        "1 of 1 dead letters replayed",
        "1 of 1 dead letters discarded",
        "nothing is wrong: I1 to I5 hold for all that was seen",
    ):
        assert told in "\n".join(lines)
    for path in ("/", "/dead", "/orders/demo-0001"):
        assert any(line.startswith("See http://127.0.0.1:") and line.endswith(path) for line in lines)
    figures = dict(line.rsplit(maxsplit=1) for line in lines[-9:-2])
    assert figures.pop("took").count(":") == 1
    assert figures.pop("orders in") == figures.pop("results") != "0"
    assert figures == {"duplicates": "1", "dead letters": "2", "lost": "0", "executed twice": "0"}
    assert lines[-1] == "All was as promised: each order has one result."
    assert story.isascii()
    assert "\x1b" not in story


@LONG
def test_demo_says_so_and_fails_when_a_result_is_missing(tmp_path: Path) -> None:
    with demo_in(tmp_path) as demo:
        demo.read_until("A person mends one letter")
        with demo.redis() as redis:
            ((entry, fields),) = redis.xrange("order_results", count=1)
            redis.xdel("order_results", entry)
        story = demo.read()

    assert demo.process.returncode == 1, story
    assert "lost                  1\n" in story
    assert f"NOT AS PROMISED: Lost: {fields['order_id']} has no result, or no row." in story
    assert "NOT AS PROMISED: The audit has found something: I4" in story
    assert "All was as promised" not in story
    assert demo.has_left_nothing()


@LONG
@pytest.mark.parametrize("said", ["Redis and PostgreSQL start", "PostgreSQL is stopped"])
def test_interrupted_demo_leaves_nothing(tmp_path: Path, said: str) -> None:
    with demo_in(tmp_path) as demo:
        demo.read_until(said)
        demo.process.send_signal(signal.SIGINT)
        story = demo.read()

    assert demo.process.returncode == 130, story
    assert "Traceback" not in story
    eventually(demo.has_left_nothing)


@LONG
def test_killed_demo_leaves_nothing(tmp_path: Path) -> None:
    with demo_in(tmp_path) as demo:
        demo.read_until("Orders come in")
        demo.process.kill()
        demo.read()

    eventually(demo.has_left_nothing, within=GUARDS_LIMIT_S)
