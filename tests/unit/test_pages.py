"""Pages: what the first one shows, what each is sealed with, and who gets in."""

import re
from collections.abc import Callable
from threading import Barrier, Event, Thread

import pytest
from flask import Blueprint
from flask.testing import FlaskClient
from msgspec.structs import replace

from tests.faces import browser, faced
from tests.snapshots import WELL, letters, snapshot
from tests.unit.test_views import Shown
from worker.domain.errors import Outage, Refused
from worker.domain.fleets import ReplicaNote
from worker.ops.pages import Access, pages
from worker.ops.pages import app as application
from worker.ops.pages.access import FAILURES_WITHIN_S, MOST_FAILURES, Failures
from worker.ops.watching import Watched
from worker.status import Away, Consumer, Snapshot

READ, ADMIN = "read-token-0123456789", "admin-token-0123456789"
HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m"


def looking_at(made: Snapshot | None = WELL) -> FlaskClient:
    return browser(faced(Shown().views, snapshot=made))


def text_of(client: FlaskClient, path: str = "/") -> str:
    return client.get(path).get_data(as_text=True)


def test_fleet_in_which_all_is_well_needs_nobody() -> None:
    page = text_of(looking_at())

    assert "Nobody is needed" in page
    assert "All well: nothing is waiting" in page
    assert "Needs you" not in page


def test_fleet_that_needs_a_person_says_what_to_run() -> None:
    page = text_of(looking_at(snapshot({"redis.letters.by_state": letters({"poison": 2})})))

    assert "Needs you" in page
    assert "<code>worker dead list</code>" in page
    assert 'href="/dead?reason=poison"' in page


def test_every_replica_of_the_fleet_is_shown_as_it_said_it_was() -> None:
    said = ReplicaNote("0.9.9", "draining", "paper", "2026-11-22T19:17:51Z")
    consumers = (
        Consumer("a", 3, 900, False, said),
        Consumer("b", 7, 90_000, True),
        Consumer("repair", 1, 1, False),
    )

    page = text_of(looking_at(snapshot({"redis.consumers": consumers})))

    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    gone, draining = rows[1:3]
    assert ("b" in gone, "gone" in gone, "7" in gone) == (True, True, True)
    assert all(
        each in draining for each in ("a", "draining", "0.9.9", "serves this page", "2026-11-22T19:17:51Z")
    )
    assert "repair" not in "".join(rows)


@pytest.mark.parametrize("server", ["redis", "database"])
def test_fleet_whose_server_is_away_still_has_a_page(server: str) -> None:
    client = looking_at(snapshot({server: Away("connection refused")}))

    answer = client.get("/")

    assert answer.status_code == 200
    assert "does not answer: connection refused" in answer.get_data(as_text=True)


def test_fleet_of_which_nothing_is_known_says_so() -> None:
    assert "Nothing is known yet" in text_of(looking_at(None))


def test_page_that_is_out_of_date_says_how_old_it_is() -> None:
    face = replace(faced(Shown().views), fleet=lambda: Watched(WELL, 42.0))

    assert "As of 42 s ago" in text_of(browser(face))


@pytest.mark.parametrize("age_s", [5.1, 86_400.0])
def test_nobody_is_told_that_all_is_well_by_what_was_so_a_while_ago(age_s: float) -> None:
    face = replace(faced(Shown().views), fleet=lambda: Watched(WELL, age_s))

    page = text_of(browser(face))

    assert "Nobody knows whether anybody is needed" in page
    assert "All well" not in page


def hostile_letters(value: str) -> Snapshot:
    return snapshot({"redis.letters.by_state": letters({value: 1})})


def hostile_replica(value: str) -> Snapshot:
    said = ReplicaNote(value, value, value, value)
    return snapshot({"redis.consumers": (Consumer(value, 1, 1, True, said),)})


def hostile_error(value: str) -> Snapshot:
    return snapshot({"database": Away(value)})


@pytest.mark.parametrize("made", [hostile_letters, hostile_replica, hostile_error])
def test_whatever_others_have_written_is_shown_as_text(made: Callable[[str], Snapshot]) -> None:
    page = text_of(looking_at(made(HOSTILE)))

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("path", ["/", "/nothing", "/static/style.css", "/orders?limit=0"])
def test_every_answer_says_what_a_browser_may_do_with_it(path: str) -> None:
    with looking_at().get(path) as answer:
        headers = answer.headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_no_page_has_script_style_or_handlers_within_it() -> None:
    page = text_of(looking_at())

    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page) == []


def test_page_that_is_not_there_is_told_to_people_and_to_programs() -> None:
    client = looking_at()

    person, program = client.get("/nothing"), client.get("/nothing", headers={"Accept": "*/*"})

    assert (person.status_code, person.content_type) == (404, "text/html; charset=utf-8")
    assert (program.status_code, program.get_json()) == (404, {"error": "not found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed_on_the_page_of_the_fleet(method: str) -> None:
    answer = looking_at().open("/", method=method, headers={"Accept": "*/*"})

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_without_a_token_there_is_nothing_to_sign_in_to(path: str) -> None:
    client = looking_at()

    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404


def failing(error: Exception) -> FlaskClient:
    app = pages(faced(Shown().views))
    made = Blueprint("orders", __name__)

    @made.get("/fails")
    def fails() -> str:
        raise error

    app.register_blueprint(made)
    return app.test_client()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Outage("postgresql", "secret reason"), 503, "PostgreSQL does not answer."),
        (Refused("secret reason"), 500, "can&#39;t be shown"),
        (ValueError("secret reason"), 500, "Something unexpected happened"),
    ],
)
def test_page_that_fails_says_what_happened_and_no_more(error: Exception, status: int, said: str) -> None:
    answer = failing(error).get("/fails", headers={"Accept": "text/html"})

    page = answer.get_data(as_text=True)
    assert answer.status_code == status
    assert said in page
    assert "secret" not in page


def test_no_more_pages_wait_for_a_server_than_leave_a_thread_for_others() -> None:
    app = pages(faced(Shown().views))
    made, goes_on, begun = Blueprint("orders", __name__), Event(), Barrier(application.MOST_ASKING + 1)

    @made.get("/hangs")
    def hangs() -> str:
        begun.wait(10)
        goes_on.wait(10)
        return "done"

    app.register_blueprint(made)
    hanging = [Thread(target=lambda: app.test_client().get("/hangs")) for _ in range(application.MOST_ASKING)]
    for each in hanging:
        each.start()
    begun.wait(10)

    refused, fleet = app.test_client().get("/hangs"), app.test_client().get("/")
    goes_on.set()
    for each in hanging:
        each.join()

    assert (refused.status_code, fleet.status_code) == (503, 200)


def guarded(access: Access) -> FlaskClient:
    shown = Shown()
    shown.ask()
    return browser(faced(shown.views, access=access))


def form_of(client: FlaskClient, path: str = "/sign-in") -> str:
    found = re.search(r'name="form" value="([^"]+)"', text_of(client, path))
    assert found is not None
    return found[1]


def sign_in(client: FlaskClient, token: str, *, name: str = "anna", wanted: str = "/") -> int:
    form = {"form": form_of(client), "name": name, "token": token, "next": wanted}
    return client.post("/sign-in", data=form).status_code


@pytest.mark.parametrize("path", ["/", "/orders", "/nothing"])
def test_where_reading_needs_a_token_nobody_reads_without_it(path: str) -> None:
    client = guarded(Access(read_token=READ))

    person, program = client.get(path), client.get(path, headers={"Accept": "*/*"})

    assert (person.status_code, person.location.partition("?")[0]) == (303, "/sign-in")
    assert (program.status_code, program.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("token", [READ, ADMIN])
def test_whoever_has_signed_in_reads(token: str) -> None:
    client = guarded(Access(READ, ADMIN))

    assert sign_in(client, token) == 303
    assert client.get("/").status_code == 200


def test_program_reads_with_the_token_in_its_header() -> None:
    client = guarded(Access(read_token=READ))

    told = client.get("/orders", headers={"Accept": "*/*", "Authorization": f"Bearer {READ}"})
    wrong = client.get("/orders", headers={"Accept": "*/*", "Authorization": f"Bearer {READ}x"})

    assert (told.status_code, wrong.status_code) == (200, 401)


@pytest.mark.parametrize("token", ["", "wrong", READ[:-1], READ + "x", "\udcff"])
def test_wrong_token_lets_nobody_in(token: str) -> None:
    client = guarded(Access(read_token=READ))

    assert sign_in(client, token.encode("utf-8", "replace").decode()) == 403
    assert client.get("/").status_code == 303


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\x1b[31m"])
def test_nobody_signs_in_without_a_name_that_can_be_shown(name: str) -> None:
    assert sign_in(guarded(Access(read_token=READ)), READ, name=name) == 400


def test_cookie_that_somebody_else_has_signed_is_none() -> None:
    mine, other = guarded(Access(read_token=READ)), guarded(Access(read_token=READ + "x"))
    sign_in(other, READ + "x")
    theirs = other.get_cookie(Access(read_token=READ + "x").cookie_name)
    assert theirs is not None

    mine.set_cookie(Access(read_token=READ).cookie_name, theirs.value)

    assert mine.get("/").status_code == 303


def test_cookie_is_kept_from_scripts_and_from_other_sites() -> None:
    client = guarded(Access(read_token=READ))
    form = {"form": form_of(client), "name": "anna", "token": READ}

    cookie = client.post("/sign-in", data=form).headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert READ not in cookie


def test_form_that_was_not_made_for_its_sender_is_refused() -> None:
    client = guarded(Access(read_token=READ))
    form_of(client)

    without = client.post("/sign-in", data={"name": "anna", "token": READ})
    wrong = client.post("/sign-in", data={"name": "anna", "token": READ, "form": "x"})

    assert (without.status_code, wrong.status_code) == (403, 403)


def test_form_that_was_sent_from_another_site_is_refused() -> None:
    client = guarded(Access(read_token=READ))
    form = {"form": form_of(client), "name": "anna", "token": READ}

    answer = client.post("/sign-in", data=form, headers={"Origin": "http://elsewhere.example"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "wanted",
    ["https://else.example", "//else.example", "/\\else.example", "/a\nb", "javascript:1"],
)
def test_nobody_is_led_elsewhere_after_signing_in(wanted: str) -> None:
    client = guarded(Access(read_token=READ))
    form = {"form": form_of(client), "name": "anna", "token": READ, "next": wanted}

    assert client.post("/sign-in", data=form).location == "/"


def test_whoever_wanted_a_page_gets_it_after_signing_in() -> None:
    client = guarded(Access(read_token=READ))
    form = {"form": form_of(client), "name": "anna", "token": READ, "next": "/dead?reason=poison"}

    assert client.post("/sign-in", data=form).location == "/dead?reason=poison"


def test_whoever_has_signed_out_reads_no_more() -> None:
    client = guarded(Access(read_token=READ))
    sign_in(client, READ)

    client.post("/sign-out", data={"form": form_of(client, "/")})

    assert client.get("/").status_code == 303


def test_guessing_is_slow() -> None:
    client = guarded(Access(read_token=READ))
    for _ in range(MOST_FAILURES):
        sign_in(client, "wrong")

    assert sign_in(client, READ) == 429


def test_guessing_is_forgiven_after_a_while() -> None:
    now = 0.0
    failures = Failures(clock=lambda: now)
    for _ in range(MOST_FAILURES):
        failures.note()
    were_many = failures.are_many

    now = FAILURES_WITHIN_S + 1

    assert (were_many, failures.are_many) == (True, False)


def test_token_for_reading_changes_nothing() -> None:
    client = guarded(Access(READ, ADMIN))
    sign_in(client, READ)

    page = text_of(client)

    assert "reading" in page
    assert "anna" not in page
