"""Tokens that live 15 minutes: WORKER_CREDENTIALS=tokens:credentials, with this folder on PYTHONPATH.

WORKER_CONNECTION_MAX_AGE_S=300 renews each connection before the token that it came in with has ended.
"""

import subprocess
import time
from threading import Lock

from worker.domain.credentials import Server

LIVES_S = 15 * 60
# Whoever is handed a token has it for as long: as long as a connection lives.
LEFT_S = 5 * 60
COMMAND = ("print-token",)

_lock = Lock()
_tokens: dict[Server, tuple[str, float]] = {}


def credentials(server: Server) -> tuple[str, str]:
    """Return the user of the URL, and a token that is made anew before it ends."""
    # For Redis and PostgreSQL it may be asked at once.
    with _lock:
        token, ends_at = _tokens.get(server, ("", 0.0))
        if time.monotonic() > ends_at - LEFT_S:
            asked_at = time.monotonic()
            token = fetch(server)
            _tokens[server] = token, asked_at + LIVES_S
    return server.user or "", token


def fetch(server: Server) -> str:
    """Return a new token; here a call of your cloud's library goes, and a time limit of a few seconds."""
    about = [server.kind, server.user or "", server.host or "", str(server.port or "")]
    done = subprocess.run([*COMMAND, *about], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
