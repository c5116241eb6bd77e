"""`worker pending`, `replay` and `show` where no server is needed: usage, what is asked for, interruption."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from worker.bootstrap import commands
from worker.cli import main
from worker.cli.pending import PAGE_SIZE, SHOWN
from worker.domain.errors import Outage
from worker.domain.stream_state import ConsumerState
from worker.settings import Settings
from worker.stream import PendingEntry, Readied

NOWHERE = {
    "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://someone:hidden@127.0.0.1:1/nothing",
    "WORKER_LEASE_MS": "600000",
}


class Source:
    """A pending list in memory, in place of that of Redis."""

    def __init__(self, count: int, consumer: bytes = b"gone", idle_ms: int = 400_000) -> None:
        self.entries = [PendingEntry(f"{n + 1}-0", consumer, idle_ms, 1) for n in range(count)]
        self.readied: list[str] = []
        self.largest_page = 0
        self.failure: BaseException | None = None
        self.fails_after = 0

    def consumers(self) -> list[ConsumerState]:
        names = sorted({each.consumer for each in self.entries})
        return [ConsumerState(name.decode(), len(self.entries), 3_600_000) for name in names]

    def page(
        self, after: str | None = None, *, until: str, consumer: bytes | None, idle_ms: int, count: int
    ) -> list[PendingEntry]:
        first = int(after.partition("-")[0]) if after else 0
        last = int(until.partition("-")[0]) if until != "+" else len(self.entries)
        page = [
            each
            for each in self.entries[first:last]
            if consumer in {None, each.consumer} and each.idle_ms >= idle_ms
        ][:count]
        self.largest_page = max(self.largest_page, len(page))
        return page

    def find(self, entry_ids: Sequence[str]) -> list[PendingEntry | None]:
        by_id = {each.entry_id: each for each in self.entries}
        return [by_id.get(entry_id) for entry_id in entry_ids]

    def make_claimable(self, entries: Sequence[PendingEntry]) -> Readied:
        if self.failure is not None and len(self.readied) >= self.fails_after:
            raise self.failure
        self.readied += [each.entry_id for each in entries]
        return Readied(made=len(entries))


def use(source: Source, monkeypatch: pytest.MonkeyPatch) -> Source:
    @contextmanager
    def pending_entries(_settings: Settings) -> Iterator[Source]:
        yield source

    monkeypatch.setattr(commands, "pending_entries", pending_entries)
    return source


def worker(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={**NOWHERE, **environment}).invoke(main, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "--all", "1-0"],
        ["replay", "--all", "--consumer", "gone"],
        ["replay", "1"],
        ["replay", "one-0"],
        ["replay", "1-0-0"],
        ["replay", "99999999999999999999-0"],
        ["replay", "\u0661-0"],
        ["replay", "\x1b[31m"],
        ["replay", "--limit", "0", "--all"],
        ["replay", "--idle", "nan"],
        ["replay", "--idle", "inf"],
        ["replay", "--idle", "-1"],
        ["replay", "--idle", "soon"],
        ["replay", "--consumer", ""],
        ["pending", "--limit", "0"],
        ["pending", "--idle", "nan"],
        ["pending", "1-0"],
    ],
)
def test_wrong_usage_is_2_and_one_printable_reason(arguments: list[str]) -> None:
    result = worker(*arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize("command", [["pending"], ["pending", "--json"], ["replay", "--all", "--yes"]])
def test_server_that_is_away_is_3_without_a_trace_or_a_secret(command: list[str]) -> None:
    result = worker(*command)

    assert result.exit_code == 3
    assert "Traceback" not in result.output
    assert "hidden" not in result.output


def test_replay_makes_what_was_asked_for_claimable(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Source(1203), monkeypatch)

    result = worker("replay", "--all", "--yes", "--json")

    assert result.exit_code == 0
    assert source.readied == [each.entry_id for each in source.entries]
    assert source.largest_page <= PAGE_SIZE
    assert json.loads(result.stdout) == {
        "matched": 1203, "made_claimable": 1203, "claimable_already": 0, "left_alone": 0, "trimmed": 0,
        "not_pending": [], "dry_run": False,
    }  # fmt: skip


@pytest.mark.parametrize("limit", [1, 500, 501, 1203, 5000])
def test_replay_keeps_to_its_limit(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    source = use(Source(1203), monkeypatch)

    result = worker("replay", "--consumer", "gone", "--yes", "--limit", str(limit))

    assert result.exit_code == 0
    assert source.readied == [each.entry_id for each in source.entries][:limit]


def test_replay_of_all_leaves_what_an_owner_may_still_renew(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Source(3), monkeypatch)
    source.entries[1] = replace(source.entries[1], idle_ms=299_999)

    result = worker("replay", "--all", "--yes")

    assert result.exit_code == 0
    assert source.readied == ["1-0", "3-0"]


def test_replay_by_id_names_what_is_not_pending_and_does_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Source(3), monkeypatch)

    result = worker("replay", "2-0", "7-0", "2-0", "--yes")

    assert result.exit_code == 1
    assert source.readied == ["2-0"]
    assert "worker: 7-0 is not pending" in result.stderr


@pytest.mark.parametrize("arguments", [["--all"], ["1-0"], ["--consumer", "gone"]])
def test_replay_changes_nothing_where_nobody_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    source = use(Source(3), monkeypatch)

    result = worker("replay", *arguments)

    assert result.exit_code == 2
    assert source.readied == []
    assert "--yes" in result.stderr


def test_dry_replay_changes_nothing_and_says_what_it_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Source(25), monkeypatch)

    result = worker("replay", "--all", "--dry-run")

    assert result.exit_code == 0
    assert source.readied == []
    assert "... and 5 more" in result.stdout
    assert "25 entries would be made claimable; nothing was changed" in result.stdout


def test_replay_of_nothing_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Source(0), monkeypatch)

    result = worker("replay", "--all")

    assert (result.exit_code, result.stdout) == (0, "nothing to do\n")


def test_consumer_that_does_not_exist_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Source(3), monkeypatch)

    assert worker("replay", "--consumer", "nobody", "--yes").exit_code == 1
    assert worker("pending", "--consumer", "nobody").exit_code == 1


@pytest.mark.parametrize(
    ("failure", "code"), [(KeyboardInterrupt(), 130), (Outage("redis", "gone"), 3)], ids=["Ctrl-C", "outage"]
)
def test_replay_says_how_far_it_came_and_does_the_rest_when_run_again(
    monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int
) -> None:
    source = use(Source(1203), monkeypatch)
    source.failure, source.fails_after = failure, 1000

    first = worker("replay", "--all", "--yes")
    source.failure = None
    second = worker("replay", "--all", "--yes")

    assert (first.exit_code, second.exit_code) == (code, 0)
    assert "worker: 1000 of 1203 entries were made claimable" in first.stderr
    assert "Traceback" not in first.output
    assert set(source.readied) == {each.entry_id for each in source.entries}


def test_pending_shows_who_holds_what_and_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Source(150, consumer=b"\x1b[31mred"), monkeypatch)

    shown = worker("pending")
    as_json = json.loads(worker("pending", "--json", "--limit", "150").stdout)

    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "GONE" in shown.stdout
    assert "... and more" in shown.stdout
    assert len([line for line in shown.stdout.splitlines() if "-0 " in line]) == SHOWN
    assert (len(as_json["entries"]), as_json["more"]) == (150, False)
    assert as_json["consumers"][0]["gone"] is True


def test_what_its_consumer_has_given_back_is_held_by_nobody_and_claimable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = use(Source(1, consumer=b"", idle_ms=-1), monkeypatch)

    (line,) = (line for line in worker("replay", "1-0", "--dry-run").stdout.splitlines() if line[:3] == "1-0")
    replayed = json.loads(worker("replay", "1-0", "--yes", "--json").stdout)

    assert line.split()[-6:] == ["known", "1", "nobody,", "given", "back", "claimable"]
    assert (replayed["matched"], source.readied) == (1, ["1-0"])


@pytest.mark.parametrize("identifier", ["\x1b[31m", "a b", "x" * 129, ""])
def test_show_refuses_what_can_be_no_id(identifier: str) -> None:
    result = worker("show", identifier)

    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_show_is_3_where_a_server_is_away() -> None:
    result = worker("show", "order-1")

    assert result.exit_code == 3
    assert "hidden" not in result.output


def test_replay_of_named_entries_does_none_that_it_has_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Source(3), monkeypatch)
    looked = source.find

    def renewed_once_it_was_shown(entry_ids: Sequence[str]) -> list[PendingEntry | None]:
        found = looked(entry_ids)
        source.entries[0] = replace(source.entries[0], idle_ms=0)
        return found

    monkeypatch.setattr(source, "find", renewed_once_it_was_shown)

    result = worker("replay", "1-0", "2-0", "--idle", "1", "--limit", "1", "--yes", "--json")

    assert source.readied == []
    assert json.loads(result.stdout)["left_alone"] == 1
