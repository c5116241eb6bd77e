"""Signing in and out, in a browser, and what is refused without a form of the page."""

import httpx
import pytest

from tests.acceptance.browser.conftest import Opener, sign_in
from tests.acceptance.browser.scene import ADMIN_TOKEN, READ_TOKEN, Scene

POST = """async ([path, form]) =>
  (await fetch(path, {method: 'POST', body: new URLSearchParams(form)})).status"""


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
@pytest.mark.parametrize(("token", "shown"), [(ADMIN_TOKEN, "Ada"), (READ_TOKEN, "reading")])
def test_whoever_knows_a_token_reads_what_was_asked_for_until_signed_out(
    opened: Opener, scene: Scene, token: str, shown: str, scripts: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    page = opened("/?from=a-bookmark", scene.guarded, scripts=scripts)
    assert page.text("h1") == "Sign in"

    sign_in(page, token)

    assert page.page.url.endswith("/?from=a-bookmark")
    assert page.text("h1") == "Fleet"
    assert page.text(".session span") == shown
    page.page.click("text=Sign out")
    assert page.text("h1") == "Sign in"


def test_wrong_token_is_refused_and_said_beside_the_form(opened: Opener, scene: Scene) -> None:
    page = opened("/", scene.guarded)

    sign_in(page, "a-token-that-nobody-has-given")

    assert page.text("[role=alert]") == "No such token."
    assert page.page.input_value("#token") == ""
    assert page.complaints.pop(0).startswith("403")
    assert "403" in page.complaints.pop(0)
    page.open("/")
    assert page.text("h1") == "Sign in"


def test_form_that_no_page_has_made_is_refused(opened: Opener, scene: Scene) -> None:
    page = opened("/", scene.guarded)
    sign_in(page)

    assert page.ask(POST, ["/sign-out", {}]) == 403
    assert page.ask(POST, ["/sign-out", {"form": "made-up"}]) == 403
    page.complaints.clear()

    page.page.reload()
    assert page.text(".session span") == "Ada"


def test_form_sent_by_a_page_of_somebody_else_is_refused(opened: Opener, scene: Scene) -> None:
    page = opened("/", scene.guarded)
    sign_in(page)
    token = page.page.locator("form.session input[name=form]").input_value()
    cookies = {each["name"]: each["value"] for each in page.page.context.cookies()}
    elsewhere = {"Origin": "http://elsewhere.example"}

    answer = httpx.post(
        f"{page.address}/sign-out", data={"form": token}, cookies=cookies, headers=elsewhere, timeout=20
    )

    assert answer.status_code == 403


def test_cookie_of_who_has_signed_in_is_for_no_script_and_no_other_site(opened: Opener, scene: Scene) -> None:
    page = opened("/", scene.guarded)
    sign_in(page)

    (cookie,) = page.page.context.cookies()

    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.ask("document.cookie") == ""
