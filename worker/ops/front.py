"""Which view answers a request: those for programs, and whatever else there is the pages."""

from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from worker.ops.views import Views, fault

_ALLOWED = ("GET", "HEAD")


def front(views: Views, pages: WSGIApplication | None = None) -> WSGIApplication:
    """Return what answers every request, as WSGI wants it.

    Health, readiness, status and metrics are answered without the pages, whatever state these are in. What
    fails, and what HEAD is to be answered with, is the server's business.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        view, more = views.routes.get(path), list[tuple[str, str]]()
        # Werkzeug takes any number of slashes for one, none among them.
        if view is None and pages is not None and path.startswith("/") and not path.startswith("//"):
            return pages(environ, start_response)
        if view is None:
            page = fault(HTTPStatus.NOT_FOUND)
        elif environ["REQUEST_METHOD"] not in _ALLOWED:
            page = fault(HTTPStatus.METHOD_NOT_ALLOWED)
            more.append(("Allow", ", ".join(_ALLOWED)))
        else:
            page = view(environ.get("QUERY_STRING", ""))
        start_response(f"{page.status.value} {page.status.phrase}", [*more, *page.headers])
        return [page.body]

    return answer
