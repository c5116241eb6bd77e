"""Whether a server will not have us is told by its code, whatever its language, also while connecting."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.accounts import with_user
from tests.faults.moving import through
from tests.harness import Deployment
from tests.saturated import saturable
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Refused
from worker.store import Database, require_postgresql

GERMAN = {
    "28P01": "Passwort-Authentifizierung für Benutzer »worker« fehlgeschlagen",
    "28000": "kein pg_hba.conf-Eintrag für Host »10.0.0.1«",
    "42501": "keine Berechtigung für Datenbank orders",
    "3D000": "Datenbank »orders« existiert nicht",
    "53300": "tut mir leid, schon zu viele Verbindungen",
    "57P03": "das Datenbanksystem wird hochgefahren",
}
SSL_REQUEST = 80877103


def _message(code: str, words: str) -> bytes:
    parts = {"S": "SCHWERWIEGEND", "V": "FATAL", "C": code, "M": words, "F": "auth.c", "L": "317"}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in parts.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


def _serve(listening: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            length, kind = struct.unpack("!ii", connection.recv(8, socket.MSG_WAITALL))
            if kind == SSL_REQUEST:
                connection.sendall(b"N")
                length, _ = struct.unpack("!ii", connection.recv(8, socket.MSG_WAITALL))
            connection.recv(length - 8, socket.MSG_WAITALL)
            connection.sendall(answer)


@contextmanager
def refusing(code: str, words: str) -> Iterator[Database]:
    """Yield a database whose server answers whoever connects with an error and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_serve, args=(listening, _message(code, words)), daemon=True).start()
        url = f"postgresql://worker:hidden@127.0.0.1:{listening.getsockname()[1]}/orders"
        opened = Database(url, transaction_timeout_s=5, pool_size=1, application_name="t")
        yield opened
        opened.close()
        listening.shutdown(socket.SHUT_RDWR)


def stalled_copies(database: Database) -> object:
    return database.end_stalled_copies([])


@pytest.mark.parametrize("code", GERMAN)
def test_server_of_another_language_refuses_access_or_is_away_as_its_code_says(code: str) -> None:
    with refusing(code, GERMAN[code]) as database, pytest.raises(Outage) as caught:
        database.ping()

    assert isinstance(caught.value, AccessDenied) == code.startswith(("28", "42"))
    assert GERMAN[code] in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_database_that_is_not_there_is_told_at_a_start_in_any_language() -> None:
    with (
        refusing("3D000", GERMAN["3D000"]) as database,
        pytest.raises(ConfigurationError, match=r"^DATABASE_URL: .* is not there; .*»orders«"),
    ):
        require_postgresql(database)


@pytest.mark.parametrize("words", ["password authentication failed", "SASL authentication failed"])
def test_pooler_that_has_one_code_for_everything_refuses_access_by_its_words(words: str) -> None:
    with refusing("08P01", words) as database, pytest.raises(AccessDenied):
        database.ping()


def test_error_that_only_says_words_of_a_refusal_is_none(deployment: Deployment) -> None:
    raising = (
        "CREATE FUNCTION refuse() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'permission denied'; END$$"
    )
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(raising.encode())

    with pytest.raises(Refused, match="P0001"), deployment.database.transaction() as transaction:
        transaction.exec_driver_sql("SELECT refuse()")


@pytest.mark.parametrize("what", ["a user that is not there", "no password"])
def test_real_server_refuses_access(
    deployment: Deployment, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither a password of the environment nor a file of passwords.
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    url = with_user(deployment.database_url, "nobody-of-that-name", "wrong")
    if what == "no password":
        parts = urlsplit(url)
        url = urlunsplit(parts._replace(netloc=parts.netloc.replace(":wrong", "")))
    opened = Database(url, transaction_timeout_s=5, pool_size=1, application_name="t")

    with pytest.raises(AccessDenied):
        opened.ping()

    opened.close()


@pytest.mark.parametrize("untranslated", [True, False])
def test_error_that_ends_the_session_is_an_outage_whatever_its_code(
    deployment: Deployment, *, untranslated: bool
) -> None:
    with saturable(deployment.database_url, untranslated=untranslated) as pooler:
        url = through(deployment.database_url, pooler.port)
        opened = Database(url, transaction_timeout_s=5, pool_size=1, application_name="t")
        opened.ping()
        pooler.full.set()
        with pytest.raises(Outage, match="XX000"), opened.transaction():
            pytest.fail("a session was lent")
        pooler.full.clear()
        opened.ping()
        opened.close()


@pytest.mark.parametrize("ask", [Database.ping, Database.require_writes, stalled_copies])
def test_server_that_refuses_to_say_whether_it_is_there_is_away(
    deployment: Deployment, ask: Callable[[Database], object]
) -> None:
    with saturable(deployment.database_url, "ERROR") as pooler:
        url = through(deployment.database_url, pooler.port)
        opened = Database(url, transaction_timeout_s=5, pool_size=1, application_name="t")
        opened.ping()
        pooler.full.set()
        with pytest.raises(Outage, match="XX000"):
            ask(opened)
        pooler.full.clear()
        ask(opened)
        opened.close()
