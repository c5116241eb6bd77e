"""The first page: whether anything needs a person, and how the fleet is."""

from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, render_template, request
from msgspec import Struct
from werkzeug.wrappers import Response as AnyResponse

from worker.ops.pages.charts import charts
from worker.ops.pages.ports import Face
from worker.status import Away, Consumer, Snapshot, judge
from worker.status.lines import server_lines
from worker.status.wording import span

MOST_REPLICAS = 100
STALE_AFTER_S = 5.0


class Replica(Struct, frozen=True):
    """One row of the replicas."""

    name: str
    state: str
    in_hand: int
    heard: str
    version: str
    since: str
    is_gone: bool
    serves_this: bool


def blueprint(face: Face) -> Blueprint:
    """Return the page of the fleet, and the orders recorded last, for programs."""
    made = Blueprint("fleet", __name__)

    @made.get("/")
    def fleet() -> str:
        seen = face.fleet()
        snapshot = None if seen is None else seen.told
        # What was so once is no answer to whether anybody is needed now.
        verdict = None if seen is None or seen.age_s > STALE_AFTER_S else judge(seen.told)
        return render_template(
            "fleet.html",
            age_s=None if seen is None else seen.age_s,
            verdict=verdict,
            charts=charts(face.history),
            replicas=[] if snapshot is None else list(_replicas(snapshot, face.identity.consumer)),
            streams=None if snapshot is None else snapshot.streams,
            outcomes=None if snapshot is None or snapshot.tables is None else snapshot.tables.outcomes,
            # Consumers stand in the table already.
            servers=[] if snapshot is None else [line for line in server_lines(snapshot) if line[0]],
            rules=None if snapshot is None else snapshot.rules,
        )

    @made.get("/orders")
    def orders() -> AnyResponse:
        page = face.views.orders(request.query_string.decode("latin-1"))
        return Response(page.body, HTTPStatus(page.status), content_type=page.content_type)

    return made


def _replicas(snapshot: Snapshot, ours: str) -> Iterator[Replica]:
    """Yield those that hold something and are gone first: they need somebody, if anybody does."""
    if isinstance(snapshot.redis, Away):
        return
    known = [each for each in snapshot.redis.consumers if each.is_replica]
    ranked = sorted(known, key=lambda each: (not (each.gone and each.pending), each.gone, each.name))
    for each in ranked[:MOST_REPLICAS]:
        yield _replica(each, ours)


def _replica(consumer: Consumer, ours: str) -> Replica:
    said = consumer.said
    return Replica(
        name=consumer.name,
        state="gone" if consumer.gone else "not said" if said is None else said.state,
        in_hand=consumer.pending,
        heard=span(consumer.idle_ms / 1000),
        version="not said" if said is None else said.version,
        since="" if said is None else said.started_at,
        is_gone=consumer.gone,
        serves_this=consumer.name == ours,
    )
