"""Logs that can't be written cost nothing: neither the exit code nor a wait, and later lines are whole."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT
from worker.ops import output
from worker.ops.output import LogOutput

LINE = "x" * 1000 + "\n"
LOGS = """
import structlog
from worker.ops import configure_logs
configure_logs(level="INFO", form="json")
for n in range(200):
    structlog.get_logger("worker.test").info("batch settled", number=n)
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, to read from and to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def fill(out: LogOutput, end: int) -> int:
    """Write until there is no room; return how many lines were taken whole."""
    for lines in range(1000):
        try:
            out.write(LINE)
        except OSError:
            return lines
    raise AssertionError(f"{end} takes everything")


def emptied(end: int) -> bytes:
    said = b""
    while select.select([end], [], [], 0)[0]:
        said += os.read(end, 1 << 16)
    return said


def test_line_that_nobody_reads_is_waited_for_once_and_those_after_it_not_at_all(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE_MS", 200)
    out = LogOutput(pipe[1])

    began = time.monotonic()
    fill(out, pipe[1])
    first = time.monotonic() - began
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(OSError, match="nobody reads"):
            out.write(LINE)
    others = time.monotonic() - began

    assert first >= 0.2
    # A hundred waits of that length would be twenty seconds.
    assert others < 100 * 0.2 / 2


def test_lines_are_whole_again_once_somebody_reads(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE_MS", 1)
    out = LogOutput(pipe[1])
    long = "y" * 10_000_000 + "\n"
    with pytest.raises(OSError, match="nobody reads"):
        out.write(long)
    torn = emptied(pipe[0])

    out.write("whole\n")

    assert torn.strip(b"y") == b""
    assert emptied(pipe[0]).decode().splitlines() == ["", "whole"]


def test_terminal_that_is_not_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATIENCE_MS", 1)
    person, terminal = os.openpty()
    try:
        out = LogOutput(terminal)
        taken = fill(out, terminal)
        with pytest.raises(OSError, match=r"nobody reads|unavailable"):
            out.write(LINE)
    finally:
        os.close(person)
        os.close(terminal)

    assert taken < 1000


def test_line_after_one_that_a_full_disk_has_cut_is_whole(tmp_path: Path) -> None:
    # Room for one line and a half, as RLIMIT_FSIZE makes it: SIGXFSZ is ignored by Python.
    program = """
import os, resource, sys
from worker.ops.output import LogOutput
descriptor = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
out = LogOutput(descriptor)
resource.setrlimit(resource.RLIMIT_FSIZE, (15, resource.RLIM_INFINITY))
for line in ("whole 1234\\n", "is cut off\\n"):
    try:
        out.write(line)
    except OSError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
out.write("whole again\\n")
"""
    log = tmp_path / "log"

    subprocess.run([sys.executable, "-c", program, log], cwd=ROOT, check=True, timeout=60)

    assert log.read_text().splitlines() == ["whole 1234", "is c", "whole again"]


def test_line_longer_than_what_a_pipe_takes_at_once_arrives_whole(pipe: tuple[int, int]) -> None:
    out = LogOutput(pipe[1])

    out.write("z" * 3 * output.PART + "\n")

    assert emptied(pipe[0]) == b"z" * 3 * output.PART + b"\n"


@pytest.mark.parametrize(
    "where", [">/dev/full", ">&-", "| exec true", ">/dev/full 2>/dev/full", ">&- 2>&-", "| (exec sleep 0)"]
)
def test_process_whose_logs_go_nowhere_ends_as_if_they_were_read(where: str, tmp_path: Path) -> None:
    line = f'{{ "$0" -c "$1"; echo $? >"$2"; }} {where}'
    code = tmp_path / "code"

    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, LOGS, code],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert code.read_text() == "0\n"
    assert done.stderr == ""
