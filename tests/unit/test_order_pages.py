"""The page of an order and the search: what they show, what they refuse, and that nobody's text is obeyed."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from msgspec import Struct
from msgspec.structs import replace

from tests.builders import record, trade
from tests.faces import browser, faced
from tests.unit.test_telling import ALL, AT, LETTER, NO_RESULTS, PRUNED, SOME, finding, story
from tests.unit.test_views import Shown
from worker.domain.errors import Outage, Refused
from worker.domain.evidence import Fate
from worker.domain.orders import Labels, Status
from worker.domain.pruning import Pruned
from worker.domain.searching import FoundOrder, FoundOrders, Place, Search
from worker.status.story import Duplicates, Entered, Field, Held, Letters, Result, Results, Row, Story

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e{{7*7}}"
PLACE = Place(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "1-1")


class FakeOrders(Struct):
    """Orders that a test makes up; what was searched for is remembered."""

    told: Story | None = None
    found: FoundOrders = FoundOrders((), 0, None, None)
    fault: Exception | None = None
    asked: list[Any] = []
    hidden: frozenset[str] = frozenset()
    gone: Pruned | None = None

    def story(self, identifier: str) -> Story | None:
        self.asked.append(identifier)
        if self.fault is not None:
            raise self.fault
        return self.told

    def pruned(self, identifier: str) -> Pruned | None:
        del identifier
        return self.gone

    def search(self, wanted: Search) -> FoundOrders:
        self.asked.append(wanted)
        if self.fault is not None:
            raise self.fault
        return self.found


def looking_at(orders: FakeOrders) -> FlaskClient:
    return browser(faced(Shown().views, orders=orders))


def page_of(told: Story, path: str = "/orders/order-1") -> str:
    return looking_at(FakeOrders(told)).get(path).get_data(as_text=True)


def found_order(**changes: Any) -> FoundOrder:
    made = FoundOrder("a/b:1", "1-1", "FILLED", "BTCUSDT", "BUY", Decimal("0.50"), Decimal(1), None, None, AT)
    return replace(made, **changes)


def plain(page: str) -> str:
    """What a person reads on a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())


def test_page_of_an_order_begins_with_its_sentence() -> None:
    page = page_of(story())

    assert "Exactly one result, checked at 2026-01-02T03:04:05Z." in page
    assert 'class="verdict well"' in page
    assert 'href="/orders/order-1?format=json"' in page


def test_page_of_a_broken_order_names_the_command_that_mends_it() -> None:
    broken = story(findings=(finding("its settled mark is gone: another delivery would publish again"),))

    page = page_of(broken)

    assert 'class="verdict needs"' in page
    assert "I4: its settled mark is gone" in page
    assert "<code>worker dead show 1767323050000-0</code>" in page_of(
        story(None, results=NO_RESULTS, letters=Letters((LETTER,), ALL))
    )


def test_page_of_an_order_shows_each_step_of_its_way() -> None:
    said = plain(page_of(story()))

    for step in (
        "entered yes 1970-01-01T00:00:00.001Z as 1-1, on the stream",
        "delivered yes to whom and how often is not kept once it is acked",
        "executed yes 2026-01-02T03:04:05.678Z filled 0.5",
        "committed yes 2026-01-02T03:04:05.678Z FILLED, of the entry 1-1",
        "published yes 2026-01-02T03:04:05.700Z as 1767323045700-0",
        "marked as settled yes yes",
        "acked yes nobody holds it",
    ):
        assert step in said


def test_page_of_an_order_in_hand_says_which_steps_are_missing() -> None:
    held = Held("worker-b", 1500, 2, claimable=False)

    said = plain(page_of(story(None, fate=Fate(pending=True), held=held, results=NO_RESULTS)))

    for step in (
        "delivered yes to worker-b, charged with 2 deliveries, untouched for 1.5 s",
        "executed no there is no row of it",
        "committed no there is no row of it",
        "published no not among the 1,234 results that were looked through",
        "marked as settled no no",
        "acked no not yet",
    ):
        assert step in said


def test_page_of_an_order_shows_its_trades_and_its_other_entries() -> None:
    row = record(trades=(trade("t-1"), trade("t-2", quantity=Decimal("0.10"))))
    page = page_of(story(row, duplicates=Duplicates(("2-1",), SOME)))

    said = plain(page)
    assert "1 of 2 t-1 0.5 100 0.05" in said
    assert "2 of 2 t-2 0.1 100 0.05" in said
    assert '<a href="/orders/2-1">2-1</a>' in page
    assert "among 20,000 entries from its own on; there are more" in said


def test_letter_of_an_order_is_shown_with_its_fields_and_leads_to_its_own_page() -> None:
    letter = replace(LETTER, fields=(Field("payload", "\\xff"), Field("payload", "2")))

    page = page_of(story(None, results=NO_RESULTS, letters=Letters((letter,), ALL)))

    assert 'href="/dead/1767323050000-0"' in page
    assert "payload \\xff payload 2" in plain(page)


@pytest.mark.parametrize("identifier", ["a", "BTC/USD:1", "/begins", "ends/", "a//b", "orders:1-1"])
def test_any_order_id_leads_to_its_page(identifier: str) -> None:
    orders = FakeOrders(story())

    answer = looking_at(orders).get(f"/search?id={identifier}", follow_redirects=True)

    assert (answer.status_code, orders.asked) == (200, [identifier])


def test_unknown_order_is_not_found_and_says_where_was_looked() -> None:
    answer = looking_at(FakeOrders()).get("/orders/nothing")

    assert answer.status_code == 404
    assert "no row has this order id or entry id" in answer.get_data(as_text=True)
    assert "20,000 of each that were looked through" in answer.get_data(as_text=True)


@pytest.mark.parametrize("identifier", ["a%20b", "a%00", "%3Cscript%3E", "x" * 129])
def test_what_can_be_no_order_id_is_not_asked_for(identifier: str) -> None:
    orders = FakeOrders(story())

    answer = looking_at(orders).get(f"/orders/{identifier}")

    assert (answer.status_code, orders.asked) == (404, [])
    assert "1 to 128 characters" in answer.get_data(as_text=True)


def test_evidence_is_a_file_that_says_what_the_page_says() -> None:
    answer = looking_at(FakeOrders(story())).get("/orders/a/b?format=json")

    said = answer.get_json()
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="order-a_b.json"'
    assert (said["state"], said["sentence"]) == (
        "one_result", "Exactly one result, checked at 2026-01-02T03:04:05Z.",
    )  # fmt: skip
    assert said["results"] == [{"entry_id": "1767323045700-0", "differs": [], "redone": False}]
    assert said["row"]["quantity"] == "0.5"


def test_evidence_of_nothing_is_told_as_such() -> None:
    answer = looking_at(FakeOrders()).get("/orders/nothing?format=json")

    assert (answer.status_code, answer.get_json()["found"]) == (404, False)


@pytest.mark.parametrize("path", ["/orders/a", "/orders/a?format=json", "/search"])
@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (Outage("redis", "secret reason"), 503, "Redis does not answer"),
        (Outage("postgresql", "secret reason"), 503, "PostgreSQL does not answer"),
        (Refused("secret reason"), 500, "holds a value that can"),
    ],
)
def test_page_of_a_server_that_is_away_says_which(
    path: str, fault: Exception, status: int, said: str
) -> None:
    answer = looking_at(FakeOrders(fault=fault)).get(path)

    assert answer.status_code == status
    assert said in answer.get_data(as_text=True)
    assert "secret" not in answer.get_data(as_text=True)


def hostile_stories() -> dict[str, Story]:
    """Stories in which others have written whatever they can."""
    labels = Labels(*[HOSTILE] * len(Labels.__struct_fields__))
    texts = record(error_message=HOSTILE, symbol=HOSTILE, labels=labels, status=Status.REJECTED)
    letter = replace(
        LETTER,
        reason=HOSTILE,
        error=HOSTILE,
        state=HOSTILE,
        deliveries=HOSTILE,
        closed_by=HOSTILE,
        closed_at=HOSTILE,
        fields=(Field(HOSTILE, HOSTILE),),
    )
    return {
        "row": story(replace(texts, trades=(trade(HOSTILE),))),
        "entry id of a row": story(replace(texts, entry_id=HOSTILE), entered=None),
        "other source": story(row=None, fate=Fate(), identifier=HOSTILE, order_id=HOSTILE),
        "fields of an entry": story(
            entered=Entered("1-1", on_stream=True, fields=(Field(HOSTILE, HOSTILE),), another=HOSTILE)
        ),
        "letter": story(None, results=NO_RESULTS, letters=Letters((letter,), ALL)),
        "letter replayed": story(
            None, results=NO_RESULTS, letters=Letters((replace(letter, replayed_as=HOSTILE),), ALL)
        ),
        "consumer": story(
            None, fate=Fate(pending=True), held=Held(HOSTILE, 1, 1, claimable=True), results=NO_RESULTS
        ),
        "result": story(results=Results((Result("1-1", (HOSTILE,)),), ALL), findings=(finding(HOSTILE),)),
        "source": replace(story(), row=Row(record(), AT, HOSTILE)),
    }


def assert_harmless(page: str) -> None:
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "{{7*7}}" in page
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert re.findall(r"<[^>]*\s(?:on[a-z]+|style)=", page) == []
    # Of what is quoted nothing ends the attribute that it stands in.
    assert 'alert(1)</script>"' not in page


@pytest.mark.parametrize("made", hostile_stories().values(), ids=hostile_stories().keys())
def test_whatever_others_have_written_into_an_order_is_shown_as_text(made: Story) -> None:
    page = page_of(made)

    assert_harmless(page)
    evidence = looking_at(FakeOrders(made)).get("/orders/a?format=json").get_data()
    assert evidence.isascii()
    assert b"\x1b" not in evidence
    assert json.loads(evidence)["found"] is True


def test_whatever_others_have_written_into_rows_that_are_found_is_shown_as_text() -> None:
    row = FoundOrder(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, Decimal(1), Decimal(0), None, HOSTILE, AT)
    orders = FakeOrders(found=FoundOrders((row,), 1, AT, Place(AT, HOSTILE)))

    assert_harmless(looking_at(orders).get("/search?symbol=x").get_data(as_text=True))


@pytest.mark.parametrize("name", ["id", "since", "until", "symbol", "status", "said", "before", "entry"])
def test_whatever_is_searched_for_is_shown_as_text(name: str) -> None:
    page = looking_at(FakeOrders()).get("/search", query_string={name: HOSTILE}).get_data(as_text=True)

    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert re.findall(r"<[^>]*\s(?:on[a-z]+|style)=", page) == []


def test_search_asks_for_what_its_form_says() -> None:
    orders = FakeOrders()

    answer = looking_at(orders).get(
        "/search?id=&since=2026-01-02T03:04&until=2026-01-02T05:04:05%2B02:00"
        "&symbol=+BTCUSDT+&status=REJECTED&said=too+old"
    )

    assert answer.status_code == 200
    assert orders.asked == [
        Search(
            since=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            until=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            symbol="BTCUSDT",
            status=Status.REJECTED,
            said="too old",
        )
    ]
    page = answer.get_data(as_text=True)
    assert 'value="2026-01-02T05:04:05+02:00"' in page
    assert "<option selected>REJECTED</option>" in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("id=a%20b", "1 to 128 characters"),
        ("since=yesterday", "is no time"),
        ("until=2026-02-30", "is no time"),
        ("before=0001-01-01T00:00%2B14:00", "is no time"),
        ("status=DONE", "A status is one of SUBMITTED, FILLED, REJECTED, ERROR, DEAD."),
        ("symbol=" + "x" * 33, "at most 32 characters"),
        ("said=a%00", "no NUL"),
        ("said=" + "x" * 201, "at most 200 characters"),
        ("entry=" + "x" * 129, "at most 128 characters"),
    ],
)
def test_bad_input_is_refused_in_words(query: str, said: str) -> None:
    orders = FakeOrders()

    answer = looking_at(orders).get(f"/search?{query}")

    assert (answer.status_code, orders.asked) == (400, [])
    assert said in answer.get_data(as_text=True)


def test_found_orders_lead_to_their_pages() -> None:
    rejected = found_order(order_id="b", status="REJECTED", error_message="too old")
    orders = FakeOrders(found=FoundOrders((found_order(), rejected), 2, AT, None))

    page = looking_at(orders).get("/search?symbol=BTCUSDT").get_data(as_text=True)

    assert 'href="/orders/a/b:1"' in page
    assert "a/b:1 2026-01-02T03:04:05.678Z FILLED BTCUSDT BUY 0.5 1" in plain(page)
    assert "too old" in page
    assert "2 rows were looked through: these are all." in plain(page)


def test_search_goes_on_where_it_has_ended() -> None:
    """Proves that the next page is asked for with all that was asked, in an address that can be kept."""
    orders = FakeOrders(found=FoundOrders((found_order(),), 10_000, AT, PLACE))
    client = looking_at(orders)

    page = client.get("/search?said=%26+old&status=FILLED").get_data(as_text=True)
    (older,) = re.findall(r'href="(/search\?[^"]+)" rel="next"', page)
    client.get(older.replace("&amp;", "&"))

    assert "10,000 rows were looked through, down to 2026-01-02T03:04:05.678Z." in plain(page)
    assert orders.asked == [
        Search(said="& old", status=Status.FILLED),
        Search(said="& old", status=Status.FILLED, place=PLACE),
    ]


def test_pages_of_orders_are_not_there_where_nobody_can_be_asked() -> None:
    assert browser(faced(Shown().views)).get("/search").status_code == 404


@pytest.mark.parametrize("query", ["", "?format=json"])
def test_order_page_hides_the_columns_of_hidden_fields_wherever_they_stand(query: str) -> None:
    told = story(hidden=frozenset({"symbol", "quantity", "filled_quantity", "price", "commission"}))
    row = told.row
    assert row is not None

    page = page_of(told, f"/orders/order-1{query}")

    assert page.count("(hidden)") >= 5
    assert str(row.record.symbol) not in page
    assert row.record.status in page


@pytest.mark.parametrize("asked", ["symbol=BTCUSDT", "said=desk"])
def test_nobody_finds_out_a_hidden_value_by_looking_for_it(asked: str) -> None:
    orders = FakeOrders(hidden=frozenset({"symbol"}))

    answer = looking_at(orders).get(f"/search?{asked}")

    assert answer.status_code == 400
    assert orders.asked == []


def test_search_says_what_it_hides() -> None:
    orders = FakeOrders(found=FoundOrders((found_order(),), 1, None, None), hidden=frozenset({"symbol"}))

    assert "Hidden here: symbol." in looking_at(orders).get("/search?status=FILLED").get_data(as_text=True)


def test_page_of_an_order_whose_row_was_pruned_does_not_say_that_it_was_not_executed() -> None:
    pruned = page_of(story(None, pruned=PRUNED, fate=Fate(old=True)))
    lost = page_of(story(None, fate=Fate(old=True)))

    assert (pruned.count("its row was pruned, or lost"), pruned.count("there is no row of it")) == (2, 0)
    assert lost.count("there is no row of it") == 2


def test_page_of_an_unknown_order_tells_of_rows_that_were_pruned() -> None:
    orders = FakeOrders(gone=Pruned(5, 4, date(2026, 1, 2), date(2026, 1, 3)))

    page = looking_at(orders).get("/orders/order-1")
    proof = looking_at(orders).get("/orders/order-1?format=json")

    assert (page.status_code, proof.status_code) == (404, 404)
    for said in (page.get_data(as_text=True), proof.get_json()["sentence"]):
        assert "the rows of 5 orders that came from 2026-01-02 to 2026-01-03 were pruned" in said
