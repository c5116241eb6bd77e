"""The story of an order on real servers: where it stands is told by looking, and no more than was seen."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from tests.commands import command
from tests.faces import Visitor
from tests.fleets import small_order
from tests.harness import Deployment, eventually, names_of, take_and_vanish
from tests.inprocess import running
from worker.bootstrap import commands
from worker.bootstrap.parts import traces
from worker.bootstrap.story import Narrator
from worker.domain.deliveries import entry_milliseconds
from worker.status.story import Story
from worker.status.telling import State, Told, tell
from worker.stream import Trail, Walk

LONG: dict[str, Any] = {"lease_ms": 60_000}


@contextmanager
def narrating(deployment: Deployment) -> Iterator[Narrator]:
    with commands.narrator(deployment.settings(**LONG)) as made:
        yield made


def told_of(deployment: Deployment, identifier: str) -> tuple[Story, Told]:
    with narrating(deployment) as narrator:
        story = narrator(identifier)
    assert story is not None
    return story, tell(story)


def execute(deployment: Deployment, **settings: Any) -> None:
    with running(deployment, repair_window_s=0, **{**LONG, "paper_success_rate": 1, **settings}):
        eventually(deployment.all_settled)


def change(deployment: Deployment, statement: str) -> None:
    with deployment.database.transaction() as connection:
        connection.execute(text(statement))


@pytest.fixture
def done(deployment: Deployment) -> Deployment:
    """Three orders of which the last was sent twice, worked off."""
    orders = [small_order("a"), small_order("b"), small_order("c"), small_order("c")]
    deployment.submit(orders)
    execute(deployment)
    return deployment


@pytest.mark.parametrize("by", ["order id", "entry id"])
def test_executed_order_has_exactly_one_result(done: Deployment, by: str) -> None:
    story, told = told_of(done, "b" if by == "order id" else done.accepted[1])

    (result, *_) = [each for each, fields in done.entries(done.results) if ("order_id", b"b") in fields]
    assert told.state is State.ONE_RESULT
    assert told.sentence.startswith("Exactly one result, checked at 20")
    assert [each.entry_id for each in story.results.found] == [result]
    assert (len(story.trades), story.trades[0].quantity) == (1, Decimal(1))
    assert (story.duplicates.entry_ids, story.mark) == ((), "yes")


def test_duplicate_is_told_from_the_order_that_came_before(done: Deployment) -> None:
    first, second = done.accepted[2:]

    of_order, of_first, of_second = (told_of(done, each) for each in ("c", first, second))

    assert (of_order[1].state, of_first[1].state) == (State.ONE_RESULT, State.ONE_RESULT)
    assert of_order[0].duplicates.entry_ids == (second,)
    assert of_second[1] == Told(
        State.DUPLICATE,
        f"It is a duplicate of the order c, whose row is of the entry {first}: it was only acked,"
        " and has no result of its own.",
        "worker show c",
    )


def test_conflict_is_told_with_its_letter(done: Deployment) -> None:
    (entry_id,) = done.submit([small_order("a", "2")])
    execute(done)
    ((letter_id, _),) = done.entries(done.dead_letters)

    of_entry, of_order = told_of(done, entry_id)[1], told_of(done, "a")[1]

    assert (of_entry.state, of_entry.command) == (State.BURIED, f"worker dead show {letter_id}")
    assert of_entry.sentence.startswith("It was buried as conflict, and has no result;")
    assert of_order.state is State.ONE_RESULT


def lose_mark(deployment: Deployment) -> None:
    deployment.redis.zrem(deployment.marks, deployment.accepted[1])
    deployment.redis.zrem(deployment.marks_of_before, deployment.accepted[1])


def lose_result(deployment: Deployment) -> None:
    ids = [each for each, fields in deployment.entries(deployment.results) if ("order_id", b"b") in fields]
    deployment.redis.xdel(deployment.results, *ids)


def double_result(deployment: Deployment) -> None:
    fields = next(
        fields for _, fields in deployment.entries(deployment.results) if ("order_id", b"b") in fields
    )
    deployment.redis.xadd(deployment.results, dict(fields))


def lose_row(deployment: Deployment) -> None:
    change(deployment, "DELETE FROM trades WHERE order_id = 'b'")
    change(deployment, "DELETE FROM orders WHERE order_id = 'b'")


def lose_row_and_mark(deployment: Deployment) -> None:
    lose_row(deployment)
    lose_mark(deployment)


BROKEN = {
    "mark lost": (
        [lose_mark],
        "Its settled mark is gone: another delivery would publish again.",
        "worker audit --repair",
    ),
    "result lost": (
        [lose_result],
        "It is FILLED, and its result was published once and is gone.",
        "worker audit --repair --republish",
    ),
    "never published": (
        [lose_mark, lose_result],
        "It is FILLED, and its result was never published.",
        "worker audit --repair",
    ),
    "row lost": ([lose_row], "It was settled, but its row is gone.", "worker audit --repair"),
    "row and mark lost": (
        [lose_row_and_mark],
        "Its order has a result, but the row is gone.",
        "worker audit --repair",
    ),
    "result altered": (
        [lambda it: change(it, "UPDATE orders SET symbol = 'XRP' WHERE order_id = 'b'")],
        "differs from its row in: symbol.",
        None,
    ),
    "trades altered": (
        [lambda it: change(it, "UPDATE trades SET quantity = 2 WHERE order_id = 'b'")],
        "Its trades add up to 2, its row says 1 was filled.",
        None,
    ),
    "result doubled": ([double_result], "2 results were published, the first is ", None),
}


@pytest.mark.parametrize(("harm", "said", "mended_by"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_missing_is_named_with_the_command_that_mends_it(
    done: Deployment, harm: list[Any], said: str, mended_by: str | None
) -> None:
    for each in harm:
        each(done)

    _, told = told_of(done, "b")

    assert (told.state, told.command) == (State.BROKEN, mended_by)
    assert said in told.sentence


def test_what_is_mended_by_the_command_has_exactly_one_result_again(done: Deployment) -> None:
    for harm in ([lose_mark], [lose_result], [lose_mark, lose_result], [lose_row]):
        for each in harm:
            each(done)
        _, told = told_of(done, "b")
        assert told.command is not None

        command(done, *told.command.split()[1:], **LONG)
        execute(done)

        assert told_of(done, "b")[1].state is not State.BROKEN
        assert [result["order_id"] for result in done.published()].count("b") == 1


def test_trimmed_entry_keeps_its_story(done: Deployment) -> None:
    done.redis.delete(done.orders)

    story, told = told_of(done, "a")

    assert story.entered is not None
    assert (story.entered.on_stream, told.state) == (False, State.ONE_RESULT)


def test_results_that_were_trimmed_are_not_counted_as_looked_at(done: Deployment) -> None:
    """Proves that one result is not called exactly one where another may have been trimmed."""
    done.submit([small_order("late")])
    execute(done)
    done.redis.delete(*done.mark_keys)
    kept = [each for each, fields in done.entries(done.results) if ("order_id", b"c") in fields]
    done.redis.xtrim(done.results, minid=kept[0], approximate=False)

    _, told = told_of(done, "a")

    assert told.state is not State.ONE_RESULT
    assert "Exactly one" not in told.sentence


def test_orders_that_wait_or_are_held_are_told_so(deployment: Deployment) -> None:
    deployment.redis.xgroup_create(deployment.orders, deployment.group, "0", mkstream=True)
    held, waiting = deployment.submit([small_order("held"), small_order("waits")])
    take_and_vanish(deployment, 1, deliveries=2)

    of_held, of_waiting = told_of(deployment, held)[1], told_of(deployment, waiting)[1]

    assert of_held.sentence.startswith(
        "Nothing of it is committed yet; gone holds it, charged with 2 deliveries, untouched for 1 h"
    )
    assert (of_held.state, of_held.command) == (State.PENDING, "worker pending")
    assert of_waiting.state is State.WAITING


def test_letter_is_told_with_its_fields_and_what_became_of_it(deployment: Deployment) -> None:
    entry_id = deployment.add_raw("payload", b"{\x1b[31m\xff", "payload", "<script>")
    execute(deployment)
    ((letter_id, _),) = deployment.entries(deployment.dead_letters)

    before, open_letter = told_of(deployment, entry_id)
    assert command(deployment, "dead", "discard", letter_id, "--yes").exit_code == 0
    after, discarded = told_of(deployment, entry_id)

    assert before.letter is not None
    assert [(each.name, each.value) for each in before.letter.fields] == [
        ("payload", "{\x1b[31m\\xff"),
        ("payload", "<script>"),
    ]
    assert (open_letter.state, open_letter.command) == (State.BURIED, f"worker dead show {letter_id}")
    assert (discarded.state, discarded.command) == (State.DISCARDED, None)
    assert after.letter is not None
    assert f"was discarded by {after.letter.closed_by} at " in discarded.sentence


def test_unknown_order_has_no_story(done: Deployment) -> None:
    with narrating(done) as narrator:
        assert [narrator(each) for each in ("nothing", "1-1", "orders:1-1")] == [None, None, None]


def test_row_that_was_put_in_by_hand_is_no_order_of_the_fleet(done: Deployment) -> None:
    change(done, "UPDATE orders SET entry_id = 'by hand' WHERE order_id = 'a'")

    assert told_of(done, "a")[1].state is State.FOREIGN


def test_row_of_another_source_is_told_as_such(done: Deployment) -> None:
    change(done, "UPDATE orders SET source = 'its' WHERE order_id = 'a'")

    assert told_of(done, "a")[1].sentence == (
        "It is an order of another source, its: ask a worker of that fleet."
    )


def test_search_that_did_not_reach_the_end_says_how_far_it_came(
    done: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that what was not looked at is not spoken of."""
    monkeypatch.setattr(traces, "MOST_SEARCHED", 1)

    story, told = told_of(done, "a")

    assert (story.results.searched.looked_at, story.results.searched.all) == (1, False)
    assert told.state in {State.ONE_RESULT_SEARCHED, State.RESULT_NOT_SEEN}
    assert " 1 " in told.sentence


def test_entry_that_came_with_the_id_of_another_is_told_from_the_order_of_the_row(done: Deployment) -> None:
    first = done.accepted[0]
    done.redis.delete(done.orders)
    done.submit([small_order("other")], under=[first])

    story, told = told_of(done, "a")

    assert story.entered is not None
    assert (story.entered.on_stream, story.entered.another) == (False, "other")
    assert told.state is not State.BROKEN


class Meanwhile:
    """Lets something happen right after results were looked for."""

    def __init__(self, trail: Trail, happens: Callable[[], None]) -> None:
        self._trail = trail
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trail, name)

    def results(self, *args: Any, **options: Any) -> Walk:
        found = self._trail.results(*args, **options)
        self._happens()
        return found


def test_result_that_is_published_while_it_is_looked_for_is_no_alarm(done: Deployment) -> None:
    """Proves that how an entry stands is asked before its result is looked for."""
    entry_id = done.accepted[1]
    (result,) = [fields for _, fields in done.entries(done.results) if ("order_id", b"b") in fields]
    lose_mark(done)
    lose_result(done)
    done.redis.xclaim(done.orders, done.group, "gone", 0, [entry_id], force=True)

    def settle() -> None:
        done.redis.xadd(done.results, dict(result))
        for key in done.mark_keys:
            done.redis.zadd(key, {entry_id: entry_milliseconds(entry_id)})
        done.redis.xack(done.orders, done.group, entry_id)

    with narrating(done) as narrator:
        asked = narrator.witnesses
        meanwhile: Any = Meanwhile(asked.trail, settle)
        during = Narrator(replace(asked, trail=meanwhile))("b")
        after = narrator("b")

    assert during is not None
    assert after is not None
    assert tell(during).state is not State.BROKEN
    # Where the server counts, it knows that a result was deleted.
    assert tell(after).state in {State.ONE_RESULT, State.ONE_RESULT_KEPT}


def test_unknown_publication_is_said_to_be_unknown(done: Deployment) -> None:
    lose_result(done)
    done.redis.zadd(names_of(done, "").unknown, {done.accepted[1]: 1})

    _, told = told_of(done, "b")

    assert told.sentence.startswith("It is FILLED, and its result")
    assert (told.state, told.command) == (State.BROKEN, "worker audit --repair --republish")


def test_page_tells_the_same_as_the_command(done: Deployment) -> None:
    said = json.loads(command(done, "show", "b", "--json", **LONG).stdout)
    with running(done, **LONG) as made, Visitor(made.server.port) as visitor:
        page, evidence = visitor.get("/orders/b"), json.loads(visitor.get("/orders/b?format=json"))
        found = visitor.get("/search?symbol=BTCUSDT&status=FILLED&since=2026-01-01")

    varies = {"checked_at", "sentence"}
    assert {name: value for name, value in evidence.items() if name not in varies} == {
        name: value for name, value in said.items() if name not in varies
    }
    assert "Exactly one result, checked at " in page
    assert all(f'href="/orders/{each}"' in found for each in ("a", "b", "c"))


def test_command_tells_the_same_as_the_story(done: Deployment) -> None:
    shown = command(done, "show", "c", "--json", **LONG)
    lines = command(done, "show", "c", **LONG).stdout.splitlines()

    said = json.loads(shown.stdout)
    assert (said["id"], said["found"], said["state"], said["command"]) == ("c", True, "one_result", None)
    assert said["sentence"].startswith("Exactly one result, checked at ")
    assert (said["duplicates"], said["findings"]) == ([done.accepted[3]], [])
    assert [each["quantity"] for each in said["trades"]] == ["1"]
    assert said["row"]["symbol"] == "BTCUSDT"
    assert said["searched"]["results"]["all"] is True
    assert lines[-1].startswith("Exactly one result, checked at ")
    assert [line.split()[:2] for line in lines if "trade" in line] == [
        ["trade", f"{said['trades'][0]['trade_id']}:"]
    ]


def test_story_shows_nothing_of_hidden_fields(deployment: Deployment) -> None:
    order = {**small_order("a"), "client_id": "kilroy", "email": "kilroy@example.org", "side": "kilroy"}
    deployment.submit([order])
    execute(deployment)
    hidden: dict[str, Any] = {"hidden_fields": "client_id,email,side,symbol"}

    shown = [command(deployment, "show", "a", *more, **LONG, **hidden).stdout for more in ([], ["--json"])]
    open_ = [command(deployment, "show", "a", *more, **LONG).stdout for more in ([], ["--json"])]

    assert [text for text in shown if "kilroy" in text or "BTCUSDT" in text] == []
    assert "kilroy" in open_[1]


@pytest.mark.parametrize("prefix", ["otherfleet:", "bot:"])
def test_id_that_was_derived_elsewhere_names_no_order_of_ours(deployment: Deployment, prefix: str) -> None:
    (entry_id,) = deployment.submit([small_order("a")])
    execute(deployment)

    with narrating(deployment) as narrator:
        assert narrator(f"{prefix}{entry_id}") is None
        assert narrator(entry_id) is not None


def test_order_without_an_id_is_found_by_the_one_it_was_given(deployment: Deployment) -> None:
    order = {name: value for name, value in small_order("a").items() if name != "order_id"}
    (entry_id,) = deployment.submit([order])
    execute(deployment)

    story, told = told_of(deployment, f"{deployment.settings().fleet.source}:{entry_id}")

    assert story.entered is not None
    assert (story.entered.entry_id, told.state) == (entry_id, State.ONE_RESULT)


@pytest.mark.parametrize("command_", ["delete", "rename"])
def test_result_is_not_called_the_only_one_on_a_stream_that_has_begun_anew(
    deployment: Deployment, command_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "AHEAD_MS", 0)
    deployment.submit([small_order("a")])
    execute(deployment)
    ((_, fields),) = deployment.entries(deployment.results)
    time.sleep(0.01)
    if command_ == "delete":
        deployment.redis.delete(deployment.results)
    else:
        deployment.redis.rename(deployment.results, f"{deployment.results}:old")
    deployment.redis.xadd(deployment.results, dict(fields))

    _, told = told_of(deployment, "a")

    assert "Exactly one result" not in told.sentence


def test_order_of_many_dead_letters_is_told_with_the_newest_of_them(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_LETTERS", 3)
    letter = {"entry_id": "1-1", "reason": "undecodable", "order_id": "a", "orig:payload": "{"}
    ids = [deployment.redis.xadd(deployment.dead_letters, letter).decode() for _ in range(5)]  # type: ignore[arg-type, union-attr]

    story, _ = told_of(deployment, "1-1")

    assert [each.letter_id for each in story.letters.found] == ids[-3:]
    assert not story.letters.searched.all
