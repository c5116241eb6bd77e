"""Dead letters, in a browser: read by everybody, replayed by whoever has signed in to change something."""

from tests.acceptance.browser.browsing import Window
from tests.acceptance.browser.conftest import Opener, sign_in
from tests.acceptance.browser.scene import ADMIN_TOKEN, CONFLICTING, DEAD, READ_TOKEN, Scene
from tests.acceptance.browser.test_signing_in import POST

REPLAYS = "/dead/replay"


def letter_of(scene: Scene, order_id: str) -> str:
    """Return the id of the letter of an order."""
    return next(
        letter_id
        for letter_id, fields in scene.deployment.entries(scene.deployment.dead_letters)
        if dict(fields).get("order_id") == order_id.encode()
    )


def signed_in(opened: Opener, scene: Scene, path: str, token: str = ADMIN_TOKEN) -> Window:
    page = opened(path, scene.guarded)
    sign_in(page, token)
    return page


def added_again(scene: Scene) -> int:
    entries = scene.deployment.entries(scene.deployment.orders)
    return sum("replay_of" in dict(fields) for _, fields in entries)


def test_nothing_is_replayed_when_another_count_was_typed(opened: Opener, scene: Scene) -> None:
    page = signed_in(opened, scene, "/dead?state=open")
    before = added_again(scene)
    page.page.check(f"input[value='{letter_of(scene, DEAD)}']")
    page.page.click("text=Replay those chosen")

    page.page.fill("#count", "7")
    page.page.click("main button.change")

    assert "nothing was done" in page.text("[role=alert]")
    assert added_again(scene) == before
    assert all("400" in each for each in page.complaints)
    page.complaints.clear()


def test_letter_is_replayed_once_its_count_was_typed_and_says_by_whom(opened: Opener, scene: Scene) -> None:
    letter_id = letter_of(scene, DEAD)
    page = signed_in(opened, scene, "/dead")
    before = added_again(scene)
    page.page.check(f"input[value='{letter_id}']")
    page.page.click("text=Replay those chosen")
    assert page.findings() == []
    assert added_again(scene) == before

    page.page.fill("#count", "1")
    page.page.click("main button.change")

    assert "1 of 1" in page.text("h1")
    assert page.findings() == []
    assert added_again(scene) == before + 1
    page.open(f"/dead/{letter_id}")
    assert "Ada" in page.text(".verdict")


def test_who_may_only_read_finds_no_form_and_is_refused_without_one(opened: Opener, scene: Scene) -> None:
    page = signed_in(opened, scene, "/dead", READ_TOKEN)
    form = page.page.locator("form.session input[name=form]").input_value()
    letter_id = letter_of(scene, CONFLICTING)

    assert page.page.locator("main form[method=post], main input[type=checkbox]").count() == 0
    assert page.ask(POST, [REPLAYS, {"form": form, "letter": letter_id, "count": "1"}]) == 403
    page.complaints.clear()


def test_replica_without_a_token_has_no_way_to_change_anything(opened: Opener, scene: Scene) -> None:
    page = opened("/dead")

    assert page.page.locator("main form[method=post], main input[type=checkbox]").count() == 0
    assert page.ask(POST, [REPLAYS, {"letter": letter_of(scene, CONFLICTING), "count": "1"}]) in {404, 405}
    page.complaints.clear()


def test_replay_that_comes_from_no_form_is_refused(opened: Opener, scene: Scene) -> None:
    page = signed_in(opened, scene, "/dead")
    letter_id = letter_of(scene, CONFLICTING)

    assert page.ask(POST, [REPLAYS, {"letter": letter_id, "count": "1"}]) == 403
    page.complaints.clear()


def test_hostile_fields_of_a_letter_are_shown_and_not_obeyed(opened: Opener) -> None:
    page = opened("/dead?reason=undecodable")
    page.page.click("main tbody th a")

    assert "<script>alert(2)</script>" in page.text()
    assert page.page.locator("main img, main script").count() == 0
