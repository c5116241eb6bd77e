"""What the log of a replica says of servers that may lose what they were given: at its start, and whenever that changes."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# By server and what was found: what is said where it is so, and where nobody may ask. Nobody is better off without this replica.
_SAID = {
    "redis": {
        "eviction": (
            "redis may evict orders that nobody has executed",
            "whether redis may evict orders is not known",
        ),
        "volatile": (
            "redis may lose what it has acknowledged",
            "whether redis keeps what it acknowledges is not known",
        ),
    },
    "database": {"volatile": ("postgresql may lose what it has committed", "")},
}
Question = Callable[[], Mapping[str, Any]]


def telling(questions: Mapping[str, Question]) -> dict[str, Question]:
    """Return questions that tell the log of what they have found."""
    return {server: _telling(question, _SAID[server]) for server, question in questions.items()}


def _telling(question: Question, said: Mapping[str, tuple[str, str]]) -> Question:
    before: dict[str, str | None] = dict.fromkeys(said, "")

    def ask_and_tell() -> Mapping[str, Any]:
        found = question()
        for name, (so, not_known) in said.items():
            now = found.get(name, before[name])
            if now != before[name]:
                before[name] = now
                if now:
                    log.warning(so, setting=now)
                elif now is None:
                    log.info(not_known, why="INFO and CONFIG are denied")
        return found

    return ask_and_tell
