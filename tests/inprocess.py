"""A replica inside the test's own process, with every part within reach."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from local.directory import free_port
from tests.harness import PATIENT_START, Deployment
from worker.bootstrap.replica import Replica, replica
from worker.domain.orders import OrderRecord
from worker.ops import Check

Told = TypeVar("Told")
Value = TypeVar("Value")


def _as_is(port: Any) -> Any:
    return port


@contextmanager
def running(
    deployment: Deployment,
    *,
    wrap_stream: Callable[[Any], Any] = _as_is,
    wrap_store: Callable[[Any], Any] = _as_is,
    **overrides: object,
) -> Iterator[Replica]:
    """Run a replica in a thread until the block ends, then drain it. Its first read is as large as any."""
    settings = deployment.settings(health_port=free_port(), **{**PATIENT_START, **overrides})
    first_count = settings.batch_size
    with replica(settings, first_count=first_count, wrap_stream=wrap_stream, wrap_store=wrap_store) as made:
        made.deadlines.stop()
        thread = Thread(target=made.worker.run, name="loop")
        thread.start()
        made.checks.start()
        made.server.start()
        try:
            yield made
        finally:
            if not made.drain.requested:
                made.drain.request()
            thread.join(timeout=20)
            made.checks.stop()
            made.server.stop()
            assert not thread.is_alive()


def seen(check: Check[Told], read: Callable[[Told], Value]) -> Value | None:
    """Return what a server told a replica of one thing, None while it tells nothing."""
    told = check.last.told
    return None if told is None else read(told)


class PausingStore:
    """Lets a test act after the commit and before the settle."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.committed = Event()
        self.go_on = Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        standing: list[OrderRecord] = self._inner.record(records)
        self.committed.set()
        assert self.go_on.wait(20)
        return standing


@contextmanager
def committing(deployment: Deployment, **overrides: Any) -> Iterator[tuple[Replica, PausingStore]]:
    """Run a replica, and begin the block when its first batch is committed and not yet settled."""
    pauses: list[PausingStore] = []

    def pausing(inner: Any) -> PausingStore:
        pauses.append(PausingStore(inner))
        return pauses[0]

    with running(deployment, wrap_store=pausing, **overrides) as made:
        assert pauses[0].committed.wait(20)
        try:
            yield made, pauses[0]
        finally:
            # Whatever the block has come to: the loop is still to be drained.
            pauses[0].go_on.set()
