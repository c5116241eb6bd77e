"""What a value must be beyond its type and bounds, and what hides a secret."""

from collections.abc import Callable
from urllib.parse import unquote

from worker.domain import loading
from worker.domain.fleets import LONGEST_SOURCE, is_source
from worker.ways import urls as ways

LONGEST_KEY = 100
SHORTEST_TOKEN, LONGEST_TOKEN = 16, 256
NEVER_HIDDEN = frozenset({"order_id", "entry_id", "replay_of"})
_CONTROLS = frozenset(map(chr, (*range(32), 127)))
_DATABASE_SCHEMES = ("postgres://", "postgresql://", "postgresql+psycopg://")
_VENUE_SCHEMES = ("http://", "https://")


class Secret:
    """A text that stays out of what shows it by mistake, and that may be read again where it was found."""

    __slots__ = ("_again", "_text")

    def __init__(self, text: str, again: Callable[[], str] | None = None) -> None:
        self._text = text
        self._again = again

    def get_secret_value(self) -> str:
        """Return the text itself, as it was when it was read last."""
        return self._text

    def read_again(self) -> None:
        """Read what may have changed. Raises ConfigurationError where that is no good, and keeps what was."""
        if self._again is not None:
            self._text = self._again()

    def __repr__(self) -> str:
        """Return the same for every secret."""
        return "Secret('**********')"


def key_name(value: str) -> None:
    """Accept the name of a key. Raises ValueError for what is none, as do all of these."""
    if not 1 <= len(value) <= LONGEST_KEY:
        raise ValueError(f"must be 1 to {LONGEST_KEY} characters")
    if not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("must be printable and without spaces")


def name_of_code(value: str) -> None:
    """Accept the name of something to import."""
    if not loading.is_name(value):
        raise ValueError("must be package.module:name")


def field_names(value: str) -> None:
    """Accept names of fields with commas between them; none is fine, too."""
    names = [name.strip() for name in value.split(",")] if value else []
    for name in names:
        if not 1 <= len(name) <= LONGEST_KEY or not name.isprintable() or any(map(str.isspace, name)):
            raise ValueError(
                f"must be names of fields, of 1 to {LONGEST_KEY} printable characters without spaces,"
                " with commas between them"
            )
    for name in names:
        if name.casefold() in NEVER_HIDDEN:
            raise ValueError(f"must not name {name}: an order is found by it")


def source(value: str) -> None:
    """Accept the name of a source."""
    if not is_source(value):
        raise ValueError(f"must be 1 to {LONGEST_SOURCE} characters of A-Z a-z 0-9 . _ : / -")


def _one_of(schemes: tuple[str, ...], text: str) -> None:
    if not text.startswith(schemes):
        raise ValueError(f"must begin with one of {', '.join(schemes)}")
    # Libraries drop a line break without a word, and end the whole connection string at a NUL.
    if any(character in _CONTROLS for character in unquote(text)):
        raise ValueError("must be without control characters")


def redis_url(url: Secret) -> None:
    """Accept a URL of Redis."""
    _one_of(ways.SCHEMES, url.get_secret_value())
    ways.way_of(url.get_secret_value())


def database_url(url: Secret) -> None:
    """Accept a URL of PostgreSQL."""
    _one_of(_DATABASE_SCHEMES, url.get_secret_value())


def venue_url(url: Secret) -> None:
    """Accept the address of a venue."""
    _one_of(_VENUE_SCHEMES, url.get_secret_value())
    parts = ways.parts_of(url.get_secret_value())
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must name a host, and have neither a query nor a fragment")


def token(secret: Secret) -> None:
    """Accept a token that nobody guesses, and that a header can hold."""
    text = secret.get_secret_value()
    if not SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN:
        raise ValueError(f"must be {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be printable ASCII without spaces")
