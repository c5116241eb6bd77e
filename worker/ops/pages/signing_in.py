"""Signing in and out: only there where a token is set."""

from http import HTTPStatus

import structlog
from flask import Blueprint, abort, redirect, render_template, request, session
from werkzeug.wrappers import Response

from worker.ops.pages.access import LONGEST_NAME, Access, Failures

log = structlog.get_logger(__name__)


def blueprint(access: Access) -> Blueprint:
    """Return the form, and what becomes of it."""
    made = Blueprint("signing_in", __name__)
    failures = Failures()

    @made.get("/sign-in")
    def form() -> str:
        return render_template("sign_in.html", next=_local(request.args.get("next", "/")), fault=None)

    @made.post("/sign-in")
    def sign_in() -> Response | tuple[str, HTTPStatus]:
        wanted = _local(request.form.get("next", "/"))
        name = " ".join(request.form.get("name", "").split())
        if failures.are_many:
            abort(HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong tokens within a minute; wait a minute.")
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            fault = f"A name is 1 to {LONGEST_NAME} characters: it stands beside what you change."
            return render_template("sign_in.html", next=wanted, fault=fault), HTTPStatus.BAD_REQUEST
        if not access.sign_in(name, request.form.get("token", "")):
            failures.note()
            # Without the name: somebody may have typed a token there.
            log.warning("wrong token on the sign-in page", address=request.remote_addr)
            fault = "No such token."
            return render_template("sign_in.html", next=wanted, fault=fault), HTTPStatus.FORBIDDEN
        is_admin = access.who_may_change() is not None
        log.info("signed in", name=name, address=request.remote_addr, admin=is_admin)
        return redirect(wanted, HTTPStatus.SEE_OTHER)

    @made.post("/sign-out")
    def sign_out() -> Response:
        session.clear()
        return redirect("/", HTTPStatus.SEE_OTHER)

    return made


def _local(path: str) -> str:
    """Return a path of ours, whatever was asked for: nobody is led elsewhere."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
