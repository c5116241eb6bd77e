"""The command line where no server is needed: usage, bad configuration, servers that are away, bad input."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker import __version__
from worker.bootstrap import commands
from worker.cli import main, submit
from worker.domain.errors import Outage
from worker.settings import Settings

NOWHERE = {
    "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://someone:hidden@127.0.0.1:1/nothing",
}
ORDER = {"symbol": "A", "side": "BUY", "quantity": "1"}


class Target:
    """Takes submitted orders in place of a stream, until it is told that Redis is gone."""

    def __init__(self, *, gone_after: int = 1_000_000) -> None:
        self.added: list[dict[str, str]] = []
        self._gone_after = gone_after

    def add(self, entries: Sequence[dict[str, str]]) -> list[str]:
        if len(self.added) + len(entries) > self._gone_after:
            raise Outage("redis", "gone")
        self.added += entries
        return [f"{n}-0" for n in range(len(entries))]


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    made = Target()
    use(made, monkeypatch)
    return made


def use(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def submitter(_settings: Settings) -> Iterator[Target]:
        yield target

    monkeypatch.setattr(commands, "submitter", submitter)


def worker(*arguments: str, given: str = "", **environment: str) -> Result:
    return CliRunner(env={**NOWHERE, **environment}).invoke(main, arguments, input=given)


def json_lines(*orders: object) -> str:
    return "".join(f"{json.dumps(order)}\n" for order in orders)


def test_help_names_every_command() -> None:
    result = worker("--help")

    assert result.exit_code == 0
    assert all(command in result.stdout for command in ("run", "migrate", "submit", "status"))


def test_version_is_shown() -> None:
    assert worker("--version").stdout == f"worker, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["fly"], ["submit"], ["submit", "/no/such/file"], ["status", "--yaml"]]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    result = worker(*arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [["run"], ["migrate"], ["submit", "-"], ["status"], ["status", "--json"]])
def test_bad_configuration_is_78_with_a_line_for_each_fault_and_nothing_else(command: list[str]) -> None:
    result = worker(*command, WORKER_BATCH_SIZE="0", DATABASE_URL="mysql://someone:hidden@host/base")

    assert result.exit_code == 78
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["worker"] * 2
    assert {line.split(": ")[1] for line in result.stderr.splitlines()} == {
        "WORKER_BATCH_SIZE",
        "DATABASE_URL",
    }
    assert result.stdout == ""
    assert "hidden" not in result.output


def test_executor_that_does_not_exist_is_bad_configuration() -> None:
    assert worker("run", WORKER_EXECUTOR="no.such:Thing", WORKER_LOG_LEVEL="ERROR").exit_code == 78


@pytest.mark.parametrize("command", [["migrate"], ["migrate", "--dry-run"], ["submit", "-"], ["status"]])
def test_server_that_is_away_is_3_without_a_trace_or_a_secret(command: list[str]) -> None:
    result = worker(*command, given=json_lines(ORDER), WORKER_START_TIMEOUT_S="0")

    assert result.exit_code == 3
    assert "Traceback" not in result.output
    assert "hidden" not in result.output


def test_status_as_json_says_which_servers_are_away() -> None:
    result = worker("status", "--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (found["redis"]["connected"], found["database"]["connected"]) == (False, False)
    assert [each["name"] for each in found["verdict"]["conditions"]] == ["unreachable", "unreachable"]


def test_misspelled_variable_is_a_warning_and_no_hindrance(target: Target) -> None:
    result = worker("submit", "-", given=json_lines(ORDER), WORKER_BATCHSIZE="9")

    assert result.exit_code == 0
    assert "worker: warning: WORKER_BATCHSIZE is no setting, did you mean WORKER_BATCH_SIZE?" in result.stderr
    assert target.added == [ORDER]


def test_submit_adds_each_line_as_it_is(target: Target) -> None:
    lines = (
        '{"symbol": "A", "quantity": 0.30000000000000004,'
        ' "order_id": 12345678901234567890, "price": null}\n\n'
    )

    result = worker("submit", "-", "--json", given=lines)

    assert result.exit_code == 0
    assert target.added == [
        {"symbol": "A", "quantity": "0.30000000000000004", "order_id": "12345678901234567890"}
    ]
    assert json.loads(result.stdout) == {"added": 1, "refused": 0, "stream": "orders"}


def test_submit_reads_a_file(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(json_lines(ORDER, ORDER), encoding="utf-8")

    result = worker("submit", str(file))

    assert result.exit_code == 0
    assert target.added == [ORDER, ORDER]


def test_submit_keeps_the_order_of_many_lines(target: Target) -> None:
    count = 2 * submit.SUBMIT_CHUNK + 1

    result = worker("submit", "-", given=json_lines(*({"order_id": f"o-{n}"} for n in range(count))))

    assert result.exit_code == 0
    assert [order["order_id"] for order in target.added] == [f"o-{n}" for n in range(count)]


def test_submit_names_bad_lines_and_adds_the_others(target: Target) -> None:
    given = (
        json_lines(ORDER)
        + "{broken\n[]\nnull\n{}\n"
        + '{"symbol": ["A"]}\n'
        + "[" * 50_000
        + "\n"
        + json_lines(ORDER)
    )

    result = worker("submit", "-", given=given)

    assert result.exit_code == 1
    assert target.added == [ORDER, ORDER]
    named = [line.split(":")[1] for line in result.stderr.splitlines() if line.startswith("worker: line")]
    assert named == [f" line {n}" for n in range(2, 8)]
    assert "Traceback" not in result.output


def test_submit_adds_nothing_when_asked_to_run_dry(target: Target) -> None:
    result = worker("submit", "-", "--dry-run", given=json_lines(ORDER, []))

    assert result.exit_code == 1
    assert target.added == []
    assert result.stdout == "checked 1 orders, refused 1 lines, stream orders\n"


def test_submit_says_how_far_it_came_when_redis_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(gone_after=submit.SUBMIT_CHUNK)
    use(target, monkeypatch)

    result = worker("submit", "-", given=json_lines(*([ORDER] * (submit.SUBMIT_CHUNK + 3))))

    assert result.exit_code == 3
    assert "500 orders were added; of the 3 after them any part may have been" in result.stderr


def test_submit_says_how_far_it_came_when_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    use(target, monkeypatch)
    add = target.add

    def interrupted(entries: Sequence[dict[str, str]]) -> list[str]:
        if target.added:
            raise KeyboardInterrupt
        return add(entries)

    monkeypatch.setattr(target, "add", interrupted)

    result = worker("submit", "-", given=json_lines(*([ORDER] * (submit.SUBMIT_CHUNK + 3))))

    assert result.exit_code == 130
    assert [line for line in result.stderr.splitlines() if line.startswith("worker: ")] == [
        "worker: interrupted",
        "worker: 500 orders were added; of the 3 after them any part may have been",
    ]
    assert "Traceback" not in result.output


def test_submit_names_lines_of_a_binary_file_and_adds_the_others(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "orders"
    file.write_bytes(
        b"\xff\xfe\n" + json_lines(ORDER).encode() + b'{"symbol": "\\ud800"}\n' + b"\x00\x1b[31m\n" * 200
    )

    result = worker("submit", str(file))

    assert result.exit_code == 1
    assert target.added == [ORDER]
    assert "line 1: not UTF-8" in result.stderr
    assert "line 3: not UTF-8" in result.stderr
    assert "worker: and 102 lines more" in result.stderr
    assert "refused 202 lines" in result.stdout
    assert "Traceback" not in result.output


def test_submit_reads_no_line_without_end(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "MOST_LINE_BYTES", 1000)

    result = worker("submit", "-", given=json_lines(ORDER) + "x" * 1002)

    assert result.exit_code == 1
    assert target.added == [ORDER]
    assert "line 2: longer than 1000 bytes, nothing is read after it" in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        '{"symbol": "A", "symbol": "B"}',
        '{"\\u001b[31m\\n": []}',
        "[" * 100_000,
        '{"quantity": NaN}',
        '{"%s": {}}' % ("x" * 5000),
    ],
    ids=["a key twice", "an escape", "deep", "NaN", "a long name"],
)
def test_submit_refuses_a_bad_line_in_few_printable_words(target: Target, line: str) -> None:
    result = worker("submit", "-", given=f"{line}\n")

    (said,) = [each for each in result.stderr.splitlines() if each.startswith("worker: ")]
    assert said.startswith("worker: line 1: ")
    assert said.isprintable()
    assert len(said) < 300
    assert result.exit_code == 1
    assert target.added == []


@pytest.mark.parametrize(("level", "traced"), [("INFO", False), ("DEBUG", True)])
def test_error_that_nobody_expected_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch, level: str, *, traced: bool
) -> None:
    def failing(_settings: Settings) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(commands, "submitter", failing)

    result = worker("submit", "-", given="{}", WORKER_LOG_LEVEL=level)

    assert result.exit_code == 70
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == (
        "worker: unexpected KeyError: 'odd' (WORKER_LOG_LEVEL=DEBUG shows where)"
    )
    assert ("Traceback" in result.stderr) == traced


@pytest.mark.parametrize(
    ("options", "state", "code"),
    [([], "behind", 78), (["--json"], "behind", 78), (["--dry-run"], "behind", 0), ([], "current", 0)],
)
def test_schema_that_is_behind_once_it_was_migrated_is_no_success(
    monkeypatch: pytest.MonkeyPatch, options: list[str], state: str, code: int
) -> None:
    monkeypatch.setattr(commands, "migrate", lambda _settings: None)
    monkeypatch.setattr(commands, "schema", lambda _settings: state)

    result = worker("migrate", *options)

    assert result.exit_code == code
    assert state in result.stdout
    assert ("leads to more than one server or schema" in result.stderr) == (code != 0)
