"""The pages of the dead letters: what is read there, who may close letters, and that it is asked twice."""

import html
import re
from collections.abc import Sequence
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from tests.builders import flat
from tests.faces import browser, faced
from tests.letters import FakeDeadLetters, FakeStanding, desk, stored
from tests.unit.test_pages import ADMIN, HOSTILE, READ, form_of, sign_in
from tests.unit.test_views import Shown
from worker.domain.letters import LetterState
from worker.ops.pages import Access
from worker.ops.pages.dead import LETTERS_A_PAGE, MOST_AT_ONCE
from worker.stream import StoredLetter

MAY_CHANGE = Access(None, ADMIN)


def looking_at(
    letters: FakeDeadLetters, access: Access | None = None, hidden: Sequence[str] = ()
) -> FlaskClient:
    shown = Shown()
    return browser(faced(shown.views, access=access, letters=desk(letters, FakeStanding(), hidden=hidden)))


def signed_in(letters: FakeDeadLetters, token: str = ADMIN, access: Access = MAY_CHANGE) -> FlaskClient:
    client = looking_at(letters, access)
    assert sign_in(client, token) == 303
    return client


def page_of(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def post(client: FlaskClient, deed: str, *ids: str, form: str | None = None, **more: str) -> TestResponse:
    data = {"form": form_of(client, "/dead") if form is None else form, "letter": list(ids), **more}
    return client.post(f"/dead/{deed}", data=data)


def listed(page: str) -> list[str]:
    return re.findall(r'<a href="/dead/([0-9-]+)">', page)


def many(count: int) -> FakeDeadLetters:
    return FakeDeadLetters(*(stored(f"{n}-1", order_id=f"o{n}") for n in range(1, count + 1)))


def test_letters_are_listed_newest_first_page_by_page() -> None:
    client = looking_at(many(LETTERS_A_PAGE + 2))

    first = page_of(client, "/dead")
    onward = re.search(r'href="(/dead\?[^"]*)" rel="next"', first)
    assert onward is not None
    second = page_of(client, html.unescape(onward[1]))

    assert listed(first)[:2] == [f"{LETTERS_A_PAGE + 2}-1", f"{LETTERS_A_PAGE + 1}-1"]
    assert listed(second) == ["2-1", "1-1"]
    assert 'rel="next"' not in second


def test_letters_are_chosen_by_state_reason_and_time_and_so_are_older_ones() -> None:
    kept = [stored(f"{n}-1", reason="poison") for n in range(1, LETTERS_A_PAGE + 2)]
    closed = LetterState("discarded", "anna", "now")
    letters = FakeDeadLetters(*kept, stored("99-1"), stored("98-1", None, closed, reason="poison"))
    client = looking_at(letters)

    page = page_of(client, "/dead?reason=poison&state=all")

    assert "99-1" not in listed(page)
    assert listed(page)[0] == "98-1"
    assert "/dead?state=all&amp;reason=poison&amp;behind=" in page
    assert listed(page_of(client, "/dead?state=discarded")) == ["98-1"]
    assert listed(page_of(client, "/dead?since=1h")) == []


@pytest.mark.parametrize(
    "query",
    ["state=lost", "since=yesterday", "since=-1", f"reason={'x' * 65}", "&".join(["reason=a"] * 11)],
)
def test_query_that_can_not_be_meant_is_refused(query: str) -> None:
    assert looking_at(many(1)).get(f"/dead?{query}").status_code == 400


@pytest.mark.parametrize(
    "given", ["1-1", "5-2", "replay", "1", "\u0661-1", "../x", quote("<b>"), "9" * 30 + "-1"]
)
def test_letter_that_is_not_there_is_not_found(given: str) -> None:
    client = looking_at(FakeDeadLetters(stored("5-1")))

    assert client.get(f"/dead/{given}").status_code == 404
    assert client.get(f"/dead?behind={given}").status_code == (200 if given in {"1-1", "5-2"} else 404)


def test_letter_is_shown_with_its_fields_and_what_its_replay_would_become() -> None:
    raw = (b"symbol", b"A\xff\x00", b"symbol", b"\x1b[2J", b"price", b"1")
    client = looking_at(FakeDeadLetters(stored("5-1", raw, reason="ambiguous")))

    page = page_of(client, "/dead/5-1")

    assert "A\\xff\\x00" in page
    assert "\\x1b[2J" in page
    assert "Buried again.</strong> ambiguous: a field stands in the entry twice" in page


def test_letter_of_another_source_is_shown_as_such_and_can_not_be_chosen() -> None:
    letters = FakeDeadLetters(stored("5-1", source="us"), stored("6-1"))
    client = signed_in(letters)

    page, one = page_of(client, "/dead"), page_of(client, "/dead/5-1")

    assert re.findall(r'name="letter" value="([0-9-]+)"', page) == ["6-1"]
    assert "of the source us" in page
    assert "It is of another fleet, whose source is &#39;us&#39;" in one
    assert 'name="letter"' not in one
    assert "worker dead replay 5-1" not in one


@pytest.mark.parametrize("deed", ["replay", "discard"])
def test_letter_of_another_source_that_is_chosen_all_the_same_is_left_as_it_is(deed: str) -> None:
    letters = FakeDeadLetters(stored("5-1", source="us"), stored("6-1", order_id="p"))
    client = signed_in(letters)

    asked = post(client, deed, "5-1", "6-1").get_data(as_text=True)
    done = post(client, deed, "5-1", "6-1", count="2").get_data(as_text=True)

    assert f"Type 1 to {deed}" in asked
    assert "nothing: it is of another fleet, whose source is &#39;us&#39;" in asked
    assert "it is of another fleet, whose source is &#39;us&#39;" in done
    assert letters.kept["5-1"].closed is None
    assert letters.kept["6-1"].closed is not None


def hostile(value: str) -> StoredLetter:
    raw = value.encode()
    fields = (raw, raw, b"symbol", raw, b"payload", raw)
    notes = dict.fromkeys(("entry_id", "reason", "order_id", "error", "consumer", "source", "head"), value)
    closed = LetterState(value, value, value, {value: (value, value)}, replayed_as=value)
    return stored("5-1", fields, closed, **notes)


def hostile_and_open(value: str) -> StoredLetter:
    letter = hostile(value)
    return StoredLetter("6-1", letter.fields, None)


@pytest.mark.parametrize("reason", [HOSTILE, "conflict"])
def test_whatever_is_in_a_letter_is_shown_as_text_on_every_page(reason: str) -> None:
    said = {"reason": reason, "order_id": HOSTILE, "error": HOSTILE}
    letters = FakeDeadLetters(
        hostile(HOSTILE), hostile_and_open(HOSTILE), stored("7-1", (HOSTILE.encode(),) * 2, **said)
    )
    client = signed_in(letters)

    pages = [page_of(client, path) for path in ("/dead?state=all", "/dead/5-1", "/dead/6-1", "/dead/7-1")]
    pages += [
        post(client, deed, "5-1", "6-1", "7-1").get_data(as_text=True) for deed in ("replay", "discard")
    ]
    pages.append(post(client, "replay", "5-1", "6-1", "7-1", count="3").get_data(as_text=True))

    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert "\x1b" not in page
        assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page) == []


def test_hidden_fields_are_hidden_on_every_page() -> None:
    raw = flat(order_id="o", client_id="kilroy", payload='{"client_id": "kilroy"}')
    letters = FakeDeadLetters(
        stored("5-1", raw, error="no kilroy", reason="conflict"),
        stored("6-1", flat(client_id="kilroy"), error="no kilroy"),
    )
    client = looking_at(letters, hidden=["client_id"])

    pages = [page_of(client, path) for path in ("/dead", "/dead/5-1", "/dead/6-1")]

    assert [page for page in pages if "kilroy" in page] == []
    assert "(hidden)" in pages[2]


@pytest.mark.parametrize("access", [Access(), Access(READ)], ids=["no token", "a token to read"])
def test_where_nobody_may_change_anything_there_is_neither_form_nor_route(access: Access) -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = looking_at(letters, access)
    if access.asks:
        sign_in(client, READ)
    form = form_of(client, "/dead") if access.asks else "x"

    assert 'method="post" action="/dead' not in page_of(client, "/dead") + page_of(client, "/dead/5-1")
    for deed in ("replay", "discard"):
        assert post(client, deed, "5-1", form=form, count="1").status_code in {404, 405}
    assert letters.kept["5-1"].closed is None


def test_whoever_may_only_read_sees_no_form_and_is_refused() -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = signed_in(letters, READ, Access(READ, ADMIN))

    assert 'name="letter"' not in page_of(client, "/dead") + page_of(client, "/dead/5-1")
    assert post(client, "replay", "5-1", count="1").status_code == 403
    assert letters.added == []


def test_whoever_has_not_signed_in_is_refused_though_reading_needs_no_token() -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = looking_at(letters, MAY_CHANGE)
    form = form_of(client)

    assert 'name="letter"' not in page_of(client, "/dead")
    assert post(client, "replay", "5-1", form=form, count="1").status_code == 403
    assert letters.added == []


def test_cookie_that_was_tampered_with_is_refused() -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = signed_in(letters)
    form = form_of(client, "/dead")
    cookie = client.get_cookie(MAY_CHANGE.cookie_name)
    assert cookie is not None
    client.set_cookie(MAY_CHANGE.cookie_name, cookie.value[:-2] + "xx")

    assert post(client, "replay", "5-1", form=form, count="1").status_code == 403
    assert letters.added == []


@pytest.mark.parametrize("deed", ["replay", "discard"])
def test_form_that_is_not_ours_changes_nothing(deed: str) -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = signed_in(letters)
    form = form_of(client, "/dead")
    elsewhere = {"Origin": "http://elsewhere.example"}

    refused = [
        post(client, deed, "5-1", form="", count="1"),
        post(client, deed, "5-1", form=form + "x", count="1"),
        client.post(f"/dead/{deed}", data={"form": form, "letter": "5-1", "count": "1"}, headers=elsewhere),
        client.get(f"/dead/{deed}?form={form}&letter=5-1&count=1"),
    ]

    assert [answer.status_code for answer in refused] == [403, 403, 403, 404]
    assert letters.kept["5-1"].closed is None


def test_replay_is_asked_with_the_number_to_type_and_then_done_and_logged() -> None:
    letters = FakeDeadLetters(*(stored(f"{n}-1", order_id=f"o{n}") for n in range(1, 4)))
    client = signed_in(letters)

    asked = post(client, "replay", "1-1", "3-1").get_data(as_text=True)
    before = list(letters.added)
    with capture_logs() as logs:
        done = post(client, "replay", "1-1", "3-1", count="2").get_data(as_text=True)

    assert "Type 2 to replay 2 dead letters" in asked
    assert "added again, and then executed: no row of the order stands" in asked
    assert before == []
    assert "2 of 2 dead letters replayed" in done
    assert [letter_id for letter_id, _ in letters.added] == ["1-1", "3-1"]
    closed = letters.kept["1-1"].closed
    assert closed is not None
    assert (closed.by, closed.state) == ("anna (page)", "replayed")
    (line,) = [each for each in logs if each["event"] == "dead letters closed on a page"]
    assert (line["deed"], line["by"], line["letters"]) == ("replay", "anna", ["1-1", "3-1"])
    assert line["address"] == "127.0.0.1"


def test_discard_closes_and_adds_nothing() -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = signed_in(letters)

    asked = post(client, "discard", "5-1").get_data(as_text=True)
    done = post(client, "discard", "5-1", count="1").get_data(as_text=True)

    assert "Type 1 to discard 1 dead letter<" in asked
    assert "1 of 1 dead letters discarded" in done
    closed = letters.kept["5-1"].closed
    assert closed is not None
    assert (closed.by, closed.state, letters.added) == ("anna (page)", "discarded", [])


@pytest.mark.parametrize("typed", ["", "1", "3", "02", "two", "-2", "2 2", "\u0662"])
def test_other_number_than_that_of_the_letters_does_nothing_and_asks_again(typed: str) -> None:
    letters = many(2)
    client = signed_in(letters)

    answer = post(client, "replay", "1-1", "2-1", count=typed, fresh="yes")

    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert "nothing was done" in page
    assert 'name="fresh" value="yes" checked' in page
    assert letters.added == []


def test_form_that_is_sent_twice_replays_once() -> None:
    letters = FakeDeadLetters(stored("5-1"))
    client = signed_in(letters)
    form = form_of(client, "/dead")

    first, second = (post(client, "replay", "5-1", "5-1", form=form, count="1") for _ in range(2))

    assert "1 of 1 dead letters replayed" in first.get_data(as_text=True)
    assert "it was closed before: replayed as 9-0 by anna (page)" in second.get_data(as_text=True)
    assert len(letters.added) == 1


def test_letters_that_were_closed_meanwhile_are_said_to_be() -> None:
    letters = FakeDeadLetters(*(stored(f"{n}-1", order_id=f"o{n}") for n in range(1, 4)))
    client = signed_in(letters)
    post(client, "replay", "1-1", "2-1", "3-1")
    letters.discard("2-1", LetterState("discarded", "bert@ops", "now"))
    del letters.kept["3-1"]

    asked = post(client, "replay", "1-1", "2-1", "3-1").get_data(as_text=True)
    done = post(client, "replay", "1-1", "2-1", "3-1", count="3").get_data(as_text=True)

    assert "Type 1 to replay" in asked
    assert "nothing: discarded by bert@ops" in asked
    assert "1 of those chosen is not there any more" in asked
    assert "1 of 3 dead letters replayed" in done
    assert "not replayed: discarded by bert@ops" in done
    assert "not replayed: there is no such dead letter" in done


def test_letter_that_can_not_be_replayed_is_left_out_of_what_is_confirmed() -> None:
    client = signed_in(FakeDeadLetters(stored("5-1", (), reason="trimmed"), stored("6-1")))

    asked = post(client, "replay", "5-1", "6-1").get_data(as_text=True)
    discarded = post(client, "discard", "5-1", "6-1").get_data(as_text=True)

    assert re.findall(r'name="letter" value="([^"]+)"', asked) == ["6-1"]
    assert "nothing: trimmed: its fields are gone" in asked
    assert re.findall(r'name="letter" value="([^"]+)"', discarded) == ["5-1", "6-1"]


def test_order_is_dated_from_now_where_that_is_asked_for() -> None:
    letters = FakeDeadLetters(stored("5-1", flat(order_id="o", timestamp="1")))

    post(signed_in(letters), "replay", "5-1", count="1", fresh="yes")

    closed = letters.kept["5-1"].closed
    assert closed is not None
    assert closed.fresh
    assert closed.changed["timestamp"][0] == "1"


def test_no_more_letters_than_a_hundred_are_closed_at_once() -> None:
    letters = many(MOST_AT_ONCE + 1)
    client = signed_in(letters)
    ids = [*letters.kept]

    too_many = post(client, "discard", *ids, count=str(len(ids)))
    none = post(client, "discard", count="0")
    most = post(client, "discard", *ids[1:], count=str(MOST_AT_ONCE))

    assert (too_many.status_code, none.status_code, most.status_code) == (400, 400, 200)
    assert [letter_id for letter_id, letter in letters.kept.items() if letter.closed is None] == ids[:1]


def test_id_that_is_none_does_nothing_to_the_others() -> None:
    letters = many(1)

    answer = post(signed_in(letters), "discard", "1-1", "<b>", count="2")

    assert answer.status_code == 404
    assert letters.kept["1-1"].closed is None


def test_outage_leaves_done_what_was_done_and_says_so() -> None:
    letters = many(3)
    client = signed_in(letters)
    letters.away_after = 1

    with capture_logs() as logs:
        answer = post(client, "replay", "1-1", "2-1", "3-1", count="3")

    page = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "1 of 3 dead letters replayed" in page
    assert "2 were perhaps not replayed" in page
    (line,) = [each for each in logs if each["event"] == "dead letters closed on a page"]
    assert (line["letters"], line["not_tried"], line["outage"]) == (["1-1"], ["2-1", "3-1"], "cut off")


def test_closed_letter_has_no_form() -> None:
    closed = LetterState("replayed", "anna", "now", {"quantity": ("1", "2")}, replayed_as="9-9")
    client = signed_in(FakeDeadLetters(stored("5-1", None, closed)))

    page = page_of(client, "/dead/5-1")

    assert "replayed as 9-9 by anna at now" in page
    assert "What the replay edited" in page
    assert 'action="/dead' not in page


def test_second_letter_of_one_order_is_left_out_of_what_is_replayed() -> None:
    client = signed_in(FakeDeadLetters(stored("5-1"), stored("6-1"), stored("7-1", order_id="another")))

    asked = post(client, "replay", "5-1", "6-1", "7-1").get_data(as_text=True)

    assert re.findall(r'name="letter" value="([^"]+)"', asked) == ["5-1", "7-1"]
    assert "nothing: another letter of its order is chosen" in asked
