"""Logs: one JSON object per line whatever is in it, or text for people.

Nothing is forged, and nothing comes from libraries but warnings.
"""

import json
import logging
from io import StringIO

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.ops import configure_logs

NASTY = 'A\n{"level": "error", "event": "forged"}\r\n\x1b[31m\x00\u2028 "quoted" \\'


@pytest.fixture
def out() -> StringIO:
    """Somewhere to log to."""
    return StringIO()


def lines(out: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().split("\n") if line]


def test_line_is_one_json_object_with_its_time_level_and_logger(out: StringIO) -> None:
    configure_logs(level="INFO", form="json", stream=out)

    structlog.get_logger("worker.here").info("batch settled", entries=5)

    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"], line["entries"]) == (
        "batch settled",
        "info",
        "worker.here",
        5,
    )
    assert str(line["timestamp"]).endswith("Z")


def test_value_can_not_forge_a_line(out: StringIO) -> None:
    configure_logs(level="INFO", form="json", stream=out)

    structlog.get_logger("worker.here").info(NASTY, symbol=NASTY, raw=NASTY.encode())

    (line,) = lines(out)
    assert (line["event"], line["symbol"], line["level"]) == (NASTY, NASTY, "info")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()


def test_exception_stays_on_its_line(out: StringIO) -> None:
    configure_logs(level="INFO", form="json", stream=out)

    try:
        int(NASTY)
    except ValueError:
        structlog.get_logger("worker.here").exception("page failed")

    (line,) = lines(out)
    assert line["level"] == "error"
    assert "ValueError" in json.dumps(line["exception"])


@pytest.mark.parametrize(
    ("level", "shown"), [("DEBUG", ["d", "i", "w"]), ("INFO", ["i", "w"]), ("WARNING", ["w"])]
)
def test_level_hides_what_is_less_severe(out: StringIO, level: str, shown: list[str]) -> None:
    configure_logs(level=level, form="json", stream=out)
    log = structlog.get_logger("worker.here")

    log.debug("d")
    log.info("i")
    log.warning("w")

    assert [line["event"] for line in lines(out)] == shown


def test_libraries_are_heard_from_their_warnings_on_and_in_the_same_form(out: StringIO) -> None:
    configure_logs(level="DEBUG", form="json", stream=out)
    library = logging.getLogger("some.library")

    library.info("chatter")
    library.warning("trouble with %s", NASTY)

    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == (
        f"trouble with {NASTY}",
        "warning",
        "some.library",
    )


def test_configuring_again_replaces_the_first(out: StringIO) -> None:
    configure_logs(level="INFO", form="json", stream=StringIO())
    configure_logs(level="INFO", form="json", stream=out)

    structlog.get_logger("worker.here").info("once")

    assert len(lines(out)) == 1


def test_console_form_is_text_on_one_line(out: StringIO) -> None:
    configure_logs(level="INFO", form="console", stream=out)

    structlog.get_logger("worker.here").info("batch settled", entries=5)

    assert "batch settled" in out.getvalue()
    assert "entries=5" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_console_form_escapes_what_would_forge_a_line(out: StringIO) -> None:
    configure_logs(level="INFO", form="console", stream=out)

    structlog.get_logger("worker.here").info("rejected", symbol="A\nforged\x1b[31m", raw=NASTY.encode())

    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


@given(text=st.text())
def test_no_text_forges_a_line_or_reaches_a_terminal_raw(text: str) -> None:
    for form in ("json", "console"):
        out = StringIO()
        configure_logs(level="INFO", form=form, stream=out)
        structlog.get_logger("worker.here").info(text, value=text, raw=text.encode("utf-8", "surrogatepass"))
        logging.getLogger("some.library").warning("%s", text)

        said = out.getvalue()
        assert len(said.splitlines()) == said.count("\n") == 2
        assert said.replace("\n", "").isprintable()
        if form == "json":
            assert [line["event"] for line in lines(out)] == [text, text]


def test_traceback_on_the_console_is_indented_and_escaped(out: StringIO) -> None:
    configure_logs(level="INFO", form="console", stream=out)

    structlog.get_logger("worker.here").error("page failed", exc_info=RuntimeError(NASTY))

    first, *others = out.getvalue().rstrip("\n").split("\n")
    assert "page failed" in first
    assert "forged" in "".join(others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


class ClosedPipe(StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("form", ["json", "console"])
def test_logging_goes_on_quietly_when_nobody_reads(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level="INFO", form=form, stream=ClosedPipe())

    structlog.get_logger("worker.here").info("unheard")

    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_logs_go_to_standard_output_by_default(out: StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level="INFO", form="json")

    structlog.get_logger("worker.here").info("here")

    captured = capsys.readouterr()
    assert json.loads(captured.out)["event"] == "here"
    assert captured.err == out.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_traceback_shows_no_local_variable(out: StringIO, form: str) -> None:
    configure_logs(level="INFO", form=form, stream=out)

    _fail_and_log("sentinel " * 2)

    assert "ZeroDivisionError" in out.getvalue()
    assert "sentinel sentinel" not in out.getvalue()


def _fail_and_log(secret: str) -> None:
    try:
        _ = 1 / len(secret[:0])
    except ZeroDivisionError:
        structlog.get_logger("worker.test").exception("failed")
