"""What pages ask of the rest of the worker."""

from collections.abc import Callable

from msgspec import Struct

from worker.ops.history import History
from worker.ops.pages.access import Access
from worker.ops.views import Identity, Views
from worker.ops.watching import Watched
from worker.status import Snapshot


class Face(Struct, frozen=True):
    """All that pages show, and who may see it."""

    identity: Identity
    views: Views
    access: Access
    # Looked at by all pages together once a second at the most; None where nothing is known yet.
    fleet: Callable[[], Watched[Snapshot] | None]
    history: History
