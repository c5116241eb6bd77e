"""What the desk says of dead letters before anything is done about them, and that it closes each once."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from tests.builders import AT, decoder, flat
from tests.letters import FakeDeadLetters, FakeStanding, desk, stored
from worker.bootstrap.letters import GONE
from worker.bootstrap.parts.showing import Sizes
from worker.domain.deliveries import Delivery
from worker.domain.fleets import Stranger
from worker.domain.letters import LetterState
from worker.domain.orders import (
    Execution,
    Order,
    OrderRecord,
    Status,
    UnsoundOrder,
    record_execution,
)
from worker.status.letters import Comparison, Forecast, Outcome, ReplayPreview, Wanted


def row_of(*fields: bytes, entry_id: str = "1-1", status: Status = Status.FILLED) -> OrderRecord:
    """The row of an entry with these fields."""
    made = decoder().decode(Delivery(entry_id, fields, 1, True))
    assert isinstance(made, Order | UnsoundOrder)
    return record_execution(made, Execution(status), AT)


def previewed(
    *rows: OrderRecord,
    fields: tuple[bytes, ...] | None = None,
    max_order_age_s: float = 0,
    reason: str = "failed",
) -> ReplayPreview:
    letters = FakeDeadLetters(stored("5-1", fields, reason=reason))
    found = desk(letters, FakeStanding(*rows), max_order_age_s=max_order_age_s).in_full("5-1")
    assert found is not None
    assert found.preview is not None
    return found.preview


SENT = flat(order_id="o")


@pytest.mark.parametrize(
    ("rows", "forecast", "why"),
    [
        ((), Forecast.EXECUTED, "no row of the order stands; it was failed"),
        ((row_of(*SENT, status=Status.DEAD),), Forecast.EXECUTED, "its row is DEAD, and goes to the replay"),
        ((row_of(*SENT, entry_id="7-1"),), Forecast.DUPLICATE, "it is FILLED, of entry 7-1"),
        ((row_of(*SENT, entry_id="7-1", status=Status.DEAD),), Forecast.DUPLICATE, "it is DEAD"),
        ((row_of(*SENT),), Forecast.DUPLICATE, "it is FILLED, of entry 1-1"),
        ((row_of(*flat(order_id="o", quantity="7")),), Forecast.CONFLICT, "came before with other content"),
        (
            (replace(row_of(*SENT, status=Status.DEAD), stranger=Stranger("other", False)),),
            Forecast.CONFLICT,
            "the order is that of source 'other'",
        ),
    ],
    ids=[
        "no row",
        "own dead row",
        "row of another",
        "dead row of another",
        "own row",
        "other content",
        "source",
    ],
)
def test_replay_is_foretold_from_the_row_that_stands(
    rows: tuple[OrderRecord, ...], forecast: Forecast, why: str
) -> None:
    preview = previewed(*rows)

    assert preview.forecast is forecast
    assert why in preview.why


def test_replay_adds_what_was_sent_and_what_it_replays_and_begins_a_budget() -> None:
    preview = previewed()

    said = [(field.name, field.value) for field in preview.adds]
    assert said[-2:] == [("order_id", "o"), ("replay_of", "1-1")]
    assert preview.budget == "a new entry: its deliveries are counted from 0, up to 5"


def test_replay_of_what_is_no_order_is_buried_again() -> None:
    preview = previewed(fields=(b"payload", b"{"), reason="undecodable")

    assert (preview.forecast, preview.why) == (Forecast.BURIED, "undecodable: the payload is not JSON")


def test_replay_that_breaks_a_rule_is_rejected() -> None:
    preview = previewed(fields=flat(order_id="o", side="NONE"))

    assert (preview.forecast, preview.why) == (Forecast.REJECTED, "side is neither BUY nor SELL")


@pytest.mark.parametrize("reason", ["conflict", "too_large"])
def test_replay_that_is_refused_adds_nothing(reason: str) -> None:
    preview = previewed(fields=SENT if reason == "conflict" else (), reason=reason)

    assert preview.forecast is Forecast.REFUSED
    assert preview.why.startswith(reason)
    assert (preview.adds, preview.budget) == ((), "nothing is added")


def test_replay_of_an_order_that_is_too_old_is_rejected_unless_it_is_dated_anew() -> None:
    old = flat(order_id="o", timestamp=str(int(AT.timestamp()) - 100))

    assert previewed(fields=old, max_order_age_s=200).forecast is Forecast.EXECUTED
    preview = previewed(fields=old, max_order_age_s=50)

    assert preview.forecast is Forecast.REJECTED
    assert "at most 50 s are allowed; it is executed if it is dated from now (--fresh)" in preview.why


def test_order_without_a_timestamp_is_as_old_as_its_replay() -> None:
    assert previewed(max_order_age_s=1).forecast is Forecast.EXECUTED


def test_what_postgresql_would_know_is_unknown_while_it_is_away() -> None:
    store = FakeStanding()
    store.is_away = True

    found = desk(FakeDeadLetters(stored("5-1", reason="failed")), store).in_full("5-1")

    assert found is not None
    assert found.preview is not None
    assert found.preview.forecast is Forecast.UNKNOWN


def compared(said: tuple[bytes, ...], *rows: OrderRecord) -> Comparison:
    letters = FakeDeadLetters(stored("5-1", said, reason="conflict"))
    found = desk(letters, FakeStanding(*rows), hidden=["client_id"]).in_full("5-1")
    assert found is not None
    assert found.comparison is not None
    return found.comparison


def test_conflict_is_shown_beside_the_stored_order_part_by_part() -> None:
    said = flat(order_id="o", quantity="0.70", price="100.0", strategy_id="a", client_id="x", reason="other")
    stands = row_of(*flat(order_id="o", quantity="0.5", price="100", client_id="y"), entry_id="7-1")

    beside = compared(said, stands)

    assert (beside.stored_entry, beside.stored_status) == ("7-1", "FILLED")
    parts = {part.name: (part.letter, part.stored, part.differs) for part in beside.fields}
    assert parts == {
        "symbol": ("BTCUSDT", "BTCUSDT", False),
        "side": ("BUY", "BUY", False),
        "quantity": ("0.7", "0.5", True),
        "price": ("100", "100", False),
        "stop_loss_pct": (None, None, False),
        "strategy_id": ("a", None, True),
        "bot_id": (None, None, False),
        "client_id": ("(hidden)", "(hidden)", True),
    }


def test_part_that_the_stored_order_had_and_that_was_unusable_is_not_known() -> None:
    stands = row_of(*flat(order_id="o", quantity="much"), status=Status.REJECTED)

    parts = {part.name: part.differs for part in compared(SENT, stands).fields}

    assert (parts["symbol"], parts["quantity"], parts["price"]) == (False, None, False)


@pytest.mark.parametrize(
    ("said", "rows", "why"),
    [
        (SENT, (), "no row of this order stands any more"),
        ((), (), "can't be read as an order"),
        ((b"payload", b"{"), (), "can't be read as an order"),
    ],
)
def test_conflict_that_can_not_be_compared_says_why(
    said: tuple[bytes, ...], rows: tuple[OrderRecord, ...], why: str
) -> None:
    assert why in compared(said, *rows).why


def test_page_goes_on_behind_the_last_letter_that_was_looked_at() -> None:
    letters = FakeDeadLetters(
        *(stored(f"{n}-1", reason="poison" if n % 2 else "failed") for n in range(1, 10))
    )
    asked = desk(letters)
    wanted = Wanted(reasons=["poison"])

    first = asked.page(wanted, behind=None, count=2)
    second = asked.page(wanted, behind=first.go_on_from, count=2, most=3)
    last = asked.page(wanted, behind=second.go_on_from, count=9)

    assert [letter.letter_id for letter in first.letters] == ["9-1", "7-1"]
    assert [letter.letter_id for letter in second.letters] == ["5-1"]
    assert (second.looked_at, second.go_on_from) == (3, "4-1")
    assert [letter.letter_id for letter in last.letters] == ["3-1", "1-1"]
    assert last.go_on_from is None


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(), ["1-1"]),
        (Wanted("replayed"), ["2-1"]),
        (Wanted("closed"), ["3-1", "2-1"]),
        (Wanted("all"), ["3-1", "2-1", "1-1"]),
        (Wanted("all", since_ms=2), ["3-1", "2-1"]),
        (Wanted("all", ["poison"]), ["3-1"]),
    ],
)
def test_letters_are_found_by_state_reason_and_time(wanted: Wanted, ids: list[str]) -> None:
    letters = FakeDeadLetters(
        stored("1-1"),
        stored("2-1", None, LetterState("replayed", "anna", "now", replayed_as="9-9")),
        stored("3-1", None, LetterState("discarded", "anna", "now"), reason="poison"),
    )

    found = desk(letters).page(wanted, behind=None, count=9)

    assert [letter.letter_id for letter in found.letters] == ids


def test_letter_is_replayed_once_and_says_by_whom() -> None:
    letters = FakeDeadLetters(stored("5-1"))

    first, second = (desk(letters).replay("5-1", "anna (page)") for _ in range(2))

    assert (first.outcome, first.replayed_as) == (Outcome.DONE, "9-0")
    assert second.outcome is Outcome.ALREADY
    assert second.why.startswith("replayed as 9-0 by anna (page) at ")
    assert len(letters.added) == 1


@pytest.mark.parametrize(
    ("noted", "edits", "order_id"),
    [
        ({"order_id": "o"}, {"quantity": "2"}, None),
        ({"order_id": "o"}, {"order_id": "b"}, "b"),
        (
            {"order_id": ""},
            {"payload": '{"symbol": "A", "side": "BUY", "quantity": 1, "order_id": "c"}'},
            "c",
        ),
    ],
    ids=["its own", "another", "none before"],
)
def test_replay_says_of_which_order_it_is_where_its_letter_does_not_name_it(
    noted: dict[str, str], edits: dict[str, str], order_id: str | None
) -> None:
    fields = (b"payload", b"{") if "payload" in edits else SENT
    letters = FakeDeadLetters(stored("5-1", fields, **noted))

    desk(letters).replay("5-1", "anna", edits=edits)

    closed = letters.kept["5-1"].closed
    assert closed is not None
    assert closed.order_id == order_id


def test_discarded_letter_is_not_replayed() -> None:
    letters = FakeDeadLetters(stored("5-1"))

    desk(letters).discard("5-1", "anna")
    replayed = desk(letters).replay("5-1", "bert")

    assert replayed.outcome is Outcome.REFUSED
    assert replayed.why.startswith("discarded by anna at ")
    assert letters.added == []


@pytest.mark.parametrize("deed", ["replay", "discard"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_letter_of_another_source_is_refused_by_its_name_and_nothing_is_changed(
    deed: str, *, dry_run: bool
) -> None:
    letters = FakeDeadLetters(stored("5-1", source="us"), stored("6-1", source="orders"), stored("7-1"))
    asked = desk(letters)

    outcomes = [getattr(asked, deed)(each, "anna", dry_run=dry_run) for each in ("5-1", "6-1", "7-1")]

    assert [each.outcome for each in outcomes] == [Outcome.REFUSED, Outcome.DONE, Outcome.DONE]
    assert "of another fleet, whose source is 'us'" in outcomes[0].why
    assert "with the settings of that fleet" in outcomes[0].why
    assert letters.kept["5-1"].closed is None
    assert "5-1" not in {letter_id for letter_id, _ in letters.added}


def test_letter_of_another_source_is_told_apart_and_no_replay_of_it_is_foretold() -> None:
    conflict = stored("5-1", source="us", reason="conflict")
    letters = FakeDeadLetters(conflict, stored("6-1", source="orders"), stored("7-1"))
    asked = desk(letters)

    listed = asked.page(Wanted(), behind=None, count=9).letters
    ours = asked.page(Wanted(ours_alone=True), behind=None, count=9).letters
    found = asked.in_full("5-1")

    assert {each.letter_id: each.other_source for each in listed} == {"7-1": None, "6-1": None, "5-1": "us"}
    assert [each.letter_id for each in ours] == ["7-1", "6-1"]
    assert found is not None
    assert (found.preview, found.comparison) == (None, None)


def test_letter_that_is_gone_is_refused() -> None:
    assert desk(FakeDeadLetters()).replay("5-1", "anna").why == GONE


def test_dry_run_closes_nothing() -> None:
    letters = FakeDeadLetters(stored("5-1"))

    foretold = [
        desk(letters).replay("5-1", "a", dry_run=True),
        desk(letters).discard("5-1", "a", dry_run=True),
    ]

    assert [each.outcome for each in foretold] == [Outcome.DONE, Outcome.DONE]
    assert letters.kept["5-1"].closed is None


def test_fresh_replay_is_dated_from_now() -> None:
    letters = FakeDeadLetters(stored("5-1", flat(order_id="o", timestamp="1")))

    desk(letters).replay("5-1", "anna", fresh=True)

    ((_, added),) = letters.added
    assert dict(zip(added[::2], added[1::2], strict=True))[b"timestamp"] == str(int(AT.timestamp())).encode()
    closed = letters.kept["5-1"].closed
    assert closed is not None
    assert closed.fresh


def test_large_entry_is_shown_in_part() -> None:
    raw = flat(order_id="o", note="x" * 50)
    letters = FakeDeadLetters(stored("5-1", raw))

    found = desk(letters, sizes=Sizes(fields=len(raw) // 2, characters=20)).in_full("5-1")

    assert found is not None
    note = {field.name: field for field in found.fields}["note"]
    assert (note.value, note.left_out, found.fields_left_out) == ("x" * 20, 30, 0)
    assert found.preview is not None
    assert found.preview.fields_left_out == 1


def test_amounts_are_compared_in_their_one_spelling() -> None:
    stands = replace(row_of(*SENT), quantity=Decimal("0.50"), price=Decimal("1E+2"))

    assert {part.differs for part in compared(SENT, stands).fields} == {False}
