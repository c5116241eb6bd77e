"""Pages over a fleet that a test makes up."""

from typing import Any

from flask.testing import FlaskClient

from tests.snapshots import WELL
from worker.ops import History, Identity, Views
from worker.ops.pages import Access, Face, pages
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
) -> Face:
    """Return what pages show, looked at just now."""
    return Face(
        identity=IDENTITY,
        views=views,
        access=access or Access(),
        fleet=lambda: None if snapshot is None else Watched(snapshot, 0.1),
        history=history or History(),
    )


def browser(face: Face) -> FlaskClient:
    """Return a browser that looks at them."""
    made: Any = pages(face).test_client()
    made.environ_base["HTTP_ACCEPT"] = "text/html"
    client: FlaskClient = made
    return client
