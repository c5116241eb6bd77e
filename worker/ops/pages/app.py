"""Makes the pages: one small application, in which each part has its blueprint."""

from datetime import timedelta
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote

import structlog
from flask import Flask, Response, abort, g, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from worker.domain.errors import Outage, Refused
from worker.domain.texts import escaped
from worker.domain.times import utc_text_of_ms
from worker.ops.conversation import MOST_BODY_BYTES
from worker.ops.pages import dead, fleet, orders, signing_in
from worker.ops.pages.access import SIGNED_IN_FOR_S, form_token, is_our_form
from worker.ops.pages.ports import Face
from worker.ops.views import fault
from worker.status.wording import span

log = structlog.get_logger(__name__)

# So many wait for a server at a time; a thread is always left for health and what is known without asking.
MOST_ASKING = 4
# Blueprints whose pages ask a server while somebody waits.
ASKING = frozenset({"orders", "dead"})
LABELS = {"redis": "Redis", "postgresql": "PostgreSQL"}
NOT_OUR_FORM = "This form was not made for you by this page: go back, reload it, try again."
BUSY = "Others are being served; try again in a moment."
UNREADABLE = "PostgreSQL holds a value that can't be shown; see the log of this replica."
UNEXPECTED = "Something unexpected happened; see the log of this replica."
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def pages(face: Face) -> Flask:
    """Return an application, as WSGI wants it, that answers with the pages and with /orders."""
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BODY_BYTES,
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=SIGNED_IN_FOR_S),
        PROVIDE_AUTOMATIC_OPTIONS=False,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    if face.access.asks:
        # Else nobody signs in, and nothing is signed.
        app.config.update(SECRET_KEY=face.access.cookie_key, SESSION_COOKIE_NAME=face.access.cookie_name)
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.finalize = _plain
    app.jinja_env.filters.update(count="{:,}".format, span=span, time=utc_text_of_ms, path=quote)
    app.register_blueprint(fleet.blueprint(face))
    if face.letters is not None:
        app.register_blueprint(dead.blueprint(face.letters, face.access))
    if face.orders is not None:
        app.register_blueprint(orders.blueprint(face.orders))
    if face.access.asks:
        app.register_blueprint(signing_in.blueprint(face.access))
    _guard(app, face)
    _serve_few(app)
    _seal(app)
    _explain(app)
    return app


def _guard(app: Flask, face: Face) -> None:
    """Let nobody in who may not be."""

    @app.before_request
    def admit() -> AnyResponse | None:
        open_to_all = request.endpoint == "static" or request.blueprint == "signing_in"
        if not open_to_all and not face.access.may_read(request):
            if _is_person():
                wanted = quote(request.full_path.rstrip("?"), safe="")
                return redirect(f"/sign-in?next={wanted}", HTTPStatus.SEE_OTHER)
            abort(HTTPStatus.UNAUTHORIZED)
        is_there = request.routing_exception is None
        if is_there and request.method == "POST" and not is_our_form(request):
            abort(HTTPStatus.FORBIDDEN, NOT_OUR_FORM)
        return None

    @app.context_processor
    def frame() -> dict[str, Any]:
        return {
            "identity": face.identity,
            "access": face.access,
            "admin": face.access.who_may_change(),
            "is_signed_in": face.access.is_signed_in,
            "form_token": form_token,
        }


def _serve_few(app: Flask) -> None:
    """Have no more wait for a server than leave a thread to whoever asks for none."""
    asking = BoundedSemaphore(MOST_ASKING)

    @app.before_request
    def take_place() -> None:
        if request.blueprint in ASKING:
            # Whoever waited here would keep a thread as well.
            if not asking.acquire(blocking=False):
                abort(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
            g.asking = asking

    @app.teardown_request
    def leave_place(_error: BaseException | None) -> None:
        held = g.pop("asking", None)
        if held is not None:
            held.release()


def _seal(app: Flask) -> None:
    """Say with each answer what a browser may do with it."""

    @app.after_request
    def seal(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _explain(app: Flask) -> None:
    """Answer what goes wrong with a page for people, and with JSON for programs; say what, and no more."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> AnyResponse:
        said = error.description if isinstance(error.description, str) else ""
        return _error(HTTPStatus(error.code or 500), said, dict(error.get_headers()))

    @app.errorhandler(Outage)
    def outage(error: Outage) -> AnyResponse:
        log.warning("page not shown", path=request.path, reason=error.reason)
        server = LABELS.get(error.server, error.server)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"{server} does not answer.")

    @app.errorhandler(Refused)
    def unreadable(error: Refused) -> AnyResponse:
        log.error("page not shown", path=request.path, reason=str(error))
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, UNREADABLE)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> AnyResponse:
        log.error("page failed", path=request.path, exc_info=error)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)


def _error(status: HTTPStatus, said: str, headers: dict[str, str] | None = None) -> AnyResponse:
    kept = {name: value for name, value in (headers or {}).items() if name in {"Allow", "Location"}}
    if status is HTTPStatus.UNAUTHORIZED:
        kept["WWW-Authenticate"] = "Bearer"
    if _is_person():
        return Response(render_template("error.html", status=status, said=said), status, kept)
    page = fault(status)
    return Response(page.body, status, kept, content_type=page.content_type)


def _is_person() -> bool:
    """Whether whoever asks reads pages; who says nothing is a program."""
    return "text/html" in request.headers.get("Accept", "")


def _plain(value: object) -> object:
    """Return a text without what a browser would obey, such as a change of the direction it is read in."""
    return escaped(value) if type(value) is str else value
