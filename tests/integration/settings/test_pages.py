"""Whether there are pages, and who may see them."""

from typing import Any

import pytest

from tests.faces import Visitor
from tests.harness import Deployment, eventually
from tests.inprocess import running
from tests.unit.test_server import ask


@pytest.mark.effect_of(pages=False)
def test_replica_without_pages_has_what_programs_need_and_no_more(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    with running(deployment, **tried) as made:
        eventually(lambda: ask(made.server.port, "/ready")[0] == 200)
        paths = ("/health", "/status", "/metrics", "/", "/orders", "/static/style.css")
        found = [ask(made.server.port, path)[0] for path in paths]

    assert found == [200, 200, 200, 404, 404, 404]


@pytest.mark.effect_of(read_token="known-to-readers")
def test_pages_are_read_by_whoever_knows_the_token_where_one_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    token = {"Authorization": f"Bearer {tried['read_token']}"}
    with running(deployment, **tried) as made:
        port = made.server.port
        eventually(lambda: ask(port, "/ready")[0] == 200)
        eventually(lambda: ask(port, "/orders", headers=token)[0] == 200)
        without = [ask(port, path)[0] for path in ("/", "/orders")]
        wrong = ask(port, "/orders", headers={"Authorization": "Bearer known-to-nobody"})[0]

    assert (without, wrong) == ([401, 401], 401)


@pytest.mark.effect_of(admin_token="known-to-admins-")
def test_whoever_knows_the_token_signs_in_to_change_something(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    with running(deployment, **tried) as made, Visitor(made.server.port) as visitor:
        page = visitor.sign_in("anna", str(tried["admin_token"]))

    assert "<span>anna</span>" in page
