"""The pages of orders: the story of one, and the search among all that are recorded."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from msgspec import Struct
from msgspec.structs import asdict
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as AnyResponse

from worker.domain.decimals import plain
from worker.domain.orders import Status
from worker.domain.pruning import Pruned
from worker.domain.searching import Place, Search
from worker.domain.times import utc_text
from worker.ops.pages.ports import Orders
from worker.status import printed
from worker.status.life import steps_of
from worker.status.proof import order_of, proof_of, proof_of_nothing, trades_of
from worker.status.story import Story
from worker.status.telling import nothing_known, tell
from worker.wire import is_order_id

# Of each text so many characters are taken.
LONGEST = {"symbol": 32, "said": 200, "entry": 128}
NO_ID = "An order id or an entry id is 1 to 128 characters of A-Z a-z 0-9 . _ : / -"
NO_TIME = "{!r} is no time; one is 2026-11-30T12:00:00Z, or 2026-11-30 12:00 for the same in UTC."
NO_STATUS = f"A status is one of {', '.join(Status)}."
HIDDEN_SYMBOL = "Symbols are hidden here, so nobody can look for one."
HIDDEN_SAID = "Fields are hidden here, and errors may quote them, so nobody can look for what an error says."
TOO_LONG = "What is looked for in {} has at most {} characters, and no NUL."


class BadInput(ValueError):
    """What is wrong with what was asked for."""


class Form(Struct, frozen=True):
    """What is searched for, as it was typed; `before` and `entry` are the place where another page ended."""

    id: str = ""
    since: str = ""
    until: str = ""
    symbol: str = ""
    status: str = ""
    said: str = ""
    before: str = ""
    entry: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Form":
        """Return what was given, without what nobody asks for."""
        return cls(**{name: given.get(name, "").strip() for name in cls.__struct_fields__})

    @property
    def asks(self) -> bool:
        """Whether anything was asked for."""
        return self != Form()

    @property
    def names_one(self) -> bool:
        """Whether it is about one order, and nothing else."""
        return bool(self.id) and self == Form(id=self.id)

    def search(self, hidden: frozenset[str]) -> Search:
        """Return what is searched for, where that is not hidden. Raises BadInput."""
        if self.symbol and "symbol" in hidden:
            raise BadInput(HIDDEN_SYMBOL)
        if self.said and hidden:
            raise BadInput(HIDDEN_SAID)
        if self.id and not is_order_id(self.id):
            raise BadInput(NO_ID)
        if self.status and self.status not in list(Status):
            raise BadInput(NO_STATUS)
        for name, longest in LONGEST.items():
            value = getattr(self, name)
            if len(value) > longest or "\0" in value:
                raise BadInput(TOO_LONG.format(name, longest))
        before = _time(self.before)
        return Search(
            identifier=self.id or None,
            since=_time(self.since),
            until=_time(self.until),
            symbol=self.symbol or None,
            status=Status(self.status) if self.status else None,
            said=self.said or None,
            place=None if before is None else Place(before, self.entry),
        )

    def behind(self, place: Place) -> dict[str, str]:
        """Return what the page behind a place is asked for with."""
        asked = {name: value for name, value in asdict(self).items() if value}
        return {**asked, "before": utc_text(place.recorded_at, "microseconds"), "entry": place.entry_id}


class Identifier(BaseConverter):
    """Whatever stands behind `/orders/`, slashes among it: order ids may begin with one, and end with one."""

    regex = ".+"
    part_isolating = False


def blueprint(orders: Orders) -> Blueprint:
    """Return the pages of orders."""
    made = Blueprint("orders", __name__)
    made.record(_prepare)

    @made.get("/orders/<any_id:identifier>")
    def order(identifier: str) -> AnyResponse:
        if not is_order_id(identifier):
            abort(HTTPStatus.NOT_FOUND, NO_ID)
        story = orders.story(identifier)
        pruned = orders.pruned(identifier) if story is None else None
        if request.args.get("format") == "json":
            return _proof(identifier, story, pruned)
        if story is None:
            said = nothing_known(pruned)
            return _page(HTTPStatus.NOT_FOUND, "order_unknown.html", identifier=identifier, said=said)
        return _page(
            HTTPStatus.OK, "order.html",
            story=story, told=tell(story), steps=steps_of(story),
            row=order_of(story), trades=trades_of(story),
        )  # fmt: skip

    @made.get("/search")
    def search() -> AnyResponse:
        form = Form.of(request.args)
        shown = {"form": form, "statuses": list(Status), "found": None, "older": None, "fault": None}
        shown["hidden"] = sorted(orders.hidden)
        try:
            wanted = form.search(orders.hidden)
        except BadInput as fault:
            return _page(HTTPStatus.BAD_REQUEST, "search.html", **{**shown, "fault": str(fault)})
        if form.names_one:
            # It may be on the streams, and have no row.
            return redirect(url_for("orders.order", identifier=form.id), HTTPStatus.SEE_OTHER)
        found = orders.search(wanted)
        older = None if found.older is None else f"/search?{urlencode(form.behind(found.older))}"
        return _page(HTTPStatus.OK, "search.html", **{**shown, "found": found, "older": older})

    return made


def _prepare(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["any_id"] = Identifier
    state.app.jinja_env.filters.update(amount=_amount, utc=partial(utc_text, precision="milliseconds"))


def _amount(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def _page(status: HTTPStatus, template: str, **shown: object) -> AnyResponse:
    return Response(render_template(template, **shown), status)


def _proof(identifier: str, story: Story | None, pruned: Pruned | None) -> AnyResponse:
    status = HTTPStatus.NOT_FOUND if story is None else HTTPStatus.OK
    document = proof_of_nothing(identifier, pruned) if story is None else proof_of(story)
    name = "".join(each if each.isalnum() or each in "._-" else "_" for each in identifier)
    headers = {"Content-Disposition": f'attachment; filename="order-{name}.json"'}
    return Response(printed(document, indent=2) + "\n", status, headers, mimetype="application/json")


def _time(given: str) -> datetime | None:
    """Return a time, in UTC where none says its zone; none where nothing is given. Raises BadInput."""
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(NO_TIME.format(given[:40])) from None
