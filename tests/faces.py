"""Pages over a fleet that a test makes up."""

import re
from collections.abc import Mapping
from typing import Any, Self

import httpx
from flask.testing import FlaskClient

from tests.snapshots import WELL
from worker.ops import History, Identity, Views
from worker.ops.pages import Access, Face, pages
from worker.ops.pages.ports import Letters, Orders
from worker.ops.watching import Watched
from worker.status import Snapshot

IDENTITY = Identity(version="1.2.3", mode="paper", consumer="a", group="execution")
HTML = {"Accept": "text/html"}


def faced(
    views: Views,
    *,
    snapshot: Snapshot | None = WELL,
    access: Access | None = None,
    history: History | None = None,
    letters: Letters | None = None,
    orders: Orders | None = None,
) -> Face:
    """Return what pages show, looked at just now."""
    return Face(
        identity=IDENTITY,
        views=views,
        access=access or Access(),
        fleet=lambda: None if snapshot is None else Watched(snapshot, 0.1),
        history=history or History(),
        letters=letters,
        orders=orders,
    )


def browser(face: Face) -> FlaskClient:
    """Return a browser that looks at them."""
    made: Any = pages(face).test_client()
    made.environ_base["HTTP_ACCEPT"] = "text/html"
    client: FlaskClient = made
    return client


class Visitor:
    """A browser without scripts that looks at the pages of a real port, and keeps its cookies."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=HTML, follow_redirects=True, timeout=10
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> str:
        """Return a page."""
        return self._client.get(path).raise_for_status().text

    def post(self, path: str, form: Mapping[str, str | list[str]], *, of: str) -> str:
        """Send a form that stands on the page `of`, and return the page that comes of it."""
        found = re.search(r'name="form" value="([^"]+)"', self.get(of))
        assert found is not None
        return self._client.post(path, data={"form": found[1], **form}).raise_for_status().text

    def sign_in(self, name: str, token: str) -> str:
        """Sign in, and return the page that comes of it."""
        return self.post("/sign-in", {"name": name, "token": token}, of="/sign-in")
