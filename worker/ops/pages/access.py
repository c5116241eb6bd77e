"""Who may read pages, and who may change something: tokens, a signed cookie, and forms of our own."""

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from threading import Lock

from flask import Request, session
from msgspec import Struct

READER, ADMIN, FORM = "reader", "admin", "form"
# A person works for so long without having to sign in again.
SIGNED_IN_FOR_S = 8 * 3600
MOST_FAILURES, FAILURES_WITHIN_S = 10, 60
LONGEST_NAME = 64


class Access(Struct, frozen=True):
    """The tokens; None is one that nobody has to know to read, and nobody can know to change something."""

    read_token: str | None = None
    admin_token: str | None = None

    @property
    def asks(self) -> bool:
        """Whether there is anything to sign in for."""
        return self.read_token is not None or self.admin_token is not None

    @property
    def cookie_key(self) -> str:
        """What cookies are signed with: the same for all replicas, another one once a token is changed."""
        return _stretched(f"{self.read_token}\0{self.admin_token}")

    @property
    def cookie_name(self) -> str:
        """A name of its own for each fleet: browsers don't tell ports of a host apart."""
        return f"orders_worker_{hashlib.sha256(self.cookie_key.encode()).hexdigest()[:8]}"

    @property
    def is_signed_in(self) -> bool:
        """Whether whoever asks has signed in."""
        return self.asks and bool(session.get(READER))

    def may_read(self, request: Request) -> bool:
        """Whether whoever asks may read: programs send the token with each request, people have signed in."""
        if self.read_token is None or session.get(READER):
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._reads(given.strip())

    def who_may_change(self) -> str | None:
        """Return the name of whoever has signed in to change something."""
        name = session.get(ADMIN) if self.admin_token is not None else None
        return name if isinstance(name, str) else None

    def sign_in(self, name: str, token: str) -> bool:
        """Sign whoever knows a token in under a name, and return whether that is so."""
        admin = self.admin_token is not None and _same(token, self.admin_token)
        if not (admin or self._reads(token)):
            return False
        session.clear()
        session.permanent = True
        session[READER] = True
        if admin:
            session[ADMIN] = name
        return True

    def _reads(self, token: str) -> bool:
        return any(_same(token, each) for each in (self.read_token, self.admin_token) if each is not None)


class Failures:
    """How often nobody could sign in lately: guessing gets slow, and stays as slow for everybody."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failed_at: deque[float] = deque(maxlen=MOST_FAILURES)

    @property
    def are_many(self) -> bool:
        """Whether nobody may try now."""
        with self._lock:
            full = len(self._failed_at) == MOST_FAILURES
            return full and self._clock() - self._failed_at[0] < FAILURES_WITHIN_S

    def note(self) -> None:
        """Count one more."""
        with self._lock:
            self._failed_at.append(self._clock())


def form_token() -> str:
    """Return what a form of ours has to bring back: it stands in the signed cookie of its reader, too."""
    if FORM not in session:
        session[FORM] = secrets.token_urlsafe(16)
    return str(session[FORM])


def is_our_form(request: Request) -> bool:
    """Whether a form was made by us for whoever sends it, and was sent from a page of ours."""
    known = session.get(FORM)
    ours = isinstance(known, str) and _same(request.form.get(FORM, ""), known)
    origin = request.headers.get("Origin")
    return ours and (origin is None or origin.partition("://")[2] == request.host)


@cache
def _stretched(tokens: str) -> str:
    # Whoever gets a cookie may try tokens on it at home: each try is to cost something.
    return hashlib.scrypt(tokens.encode(), salt=b"orders-worker cookie", n=2**14, r=8, p=1).hex()


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())
