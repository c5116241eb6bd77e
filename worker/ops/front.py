"""Which view answers a request: those for programs, and whatever else there is the pages."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog

from worker.ops.views import Page, Views

log = structlog.get_logger(__name__)

_ALLOWED = ("GET", "HEAD")


def front(views: Views, pages: WSGIApplication | None = None) -> WSGIApplication:
    """Return what answers every request, as WSGI wants it.

    Health, readiness, status and metrics are answered without the pages, whatever state these are in.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        view = views.routes.get(path)
        if view is not None:
            return _viewed(view, environ, start_response)
        # Werkzeug takes any number of slashes for one, none among them.
        if pages is not None and path.startswith("/") and not path.startswith("//"):
            return pages(environ, start_response)
        return _answered(_not_found(), environ, start_response)

    return answer


def _viewed(
    view: Callable[[str], Page], environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] not in _ALLOWED:
        page = Page(HTTPStatus.METHOD_NOT_ALLOWED, b'{"error": "method not allowed"}\n')
        return _answered(page, environ, start_response, [("Allow", ", ".join(_ALLOWED))])
    try:
        page = view(environ.get("QUERY_STRING", ""))
    except Exception:
        log.exception("page failed")
        page = Page(HTTPStatus.INTERNAL_SERVER_ERROR, b'{"error": "internal error"}\n')
    return _answered(page, environ, start_response)


def _not_found() -> Page:
    return Page(HTTPStatus.NOT_FOUND, b'{"error": "not found"}\n')


def _answered(
    page: Page, environ: WSGIEnvironment, start_response: StartResponse, more: Iterable[tuple[str, str]] = ()
) -> Iterable[bytes]:
    headers = [
        *more,
        ("Content-Type", page.content_type),
        ("Content-Length", str(len(page.body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{page.status.value} {page.status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [page.body]
