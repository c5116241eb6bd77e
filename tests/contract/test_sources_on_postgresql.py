"""The book of sources, in PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from sqlalchemy import text

from tests.harness import Deployment
from worker.domain.fleets import Fleet
from worker.store import Sources


def book(deployment: Deployment, source: str = "one", results: str = "results") -> Sources:
    """Return the book as a fleet keeps it."""
    return Sources(deployment.entered(), Fleet(source, results))


def age(deployment: Deployment, seconds: int) -> None:
    """Have every line stand as if it had been written so long ago."""
    with deployment.database.transaction() as connection:
        by = text("UPDATE order_sources SET since = since - :by, last_seen = last_seen - :by")
        connection.execute(by, {"by": timedelta(seconds=seconds)})


def test_stream_is_that_of_one_source_when_two_register_at_once(deployment: Deployment) -> None:
    """Proves asking and noting to be one step: else both would find it free and nobody could start again."""
    both = Barrier(2)

    def register(source: str) -> str | None:
        sources = book(deployment, source)
        both.wait(5)
        return sources.seen("token", "results-token")

    for _ in range(10):
        with ThreadPoolExecutor(2) as threads:
            said = set(threads.map(register, ("one", "two")))
        with deployment.database.transaction() as connection:
            (owner,) = connection.scalars(text("DELETE FROM order_sources RETURNING source")).all()

        assert said == {None, owner}


def test_two_streams_of_a_source_are_counted_while_both_are_worked_on(deployment: Deployment) -> None:
    """Proves the warning, and that the first of two streams counts again once seen beside the second."""
    sources = book(deployment)
    sources.seen("first", "results")
    sources.seen("second", "results")
    assert sources.streams_lately() == 2

    sources.seen("first", "results")

    assert (sources.streams(), sources.streams_lately()) == (2, 2)


def test_stream_that_took_the_place_of_another_is_the_only_one_that_is_worked_on(
    deployment: Deployment,
) -> None:
    """Proves that a token lost or left behind is no second stream, though nobody may know it for a minute."""
    sources = book(deployment)
    sources.seen("lost", "results")

    sources.seen("new", "results")

    assert (sources.streams(), sources.streams_lately()) == (1, 2)
    age(deployment, 61)
    sources.seen("new", "results")
    assert (sources.streams(), sources.streams_lately()) == (1, 1)


def test_stream_that_is_gone_is_forgotten_by_its_own_source_alone(deployment: Deployment) -> None:
    """Proves that nobody forgets a stream of others."""
    sources, others = book(deployment), book(deployment, "two")
    sources.seen("token", "results")

    others.gone("token")
    assert others.seen("token", "results") == "one"
    sources.gone("token")

    assert others.seen("token", "results") is None
