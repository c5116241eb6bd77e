"""What can go wrong with a local server.

LocalServerError
├── LocalServerMissing   no program to run
└── LocalServerFailed    there is one, and it does not come up
"""

from collections.abc import Sequence


class LocalServerError(Exception):
    """No local server can be had; the message says why and what helps."""


class LocalServerMissing(LocalServerError):
    """The server's program is not installed."""

    def __init__(self, server: str, remedy: str) -> None:
        """Name the server and the package that brings it."""
        super().__init__(f"{server} is not installed: {remedy}.")


class LocalServerFailed(LocalServerError):
    """The server did not start."""

    def __init__(self, reason: str, log_lines: Sequence[str] = ()) -> None:
        """Keep the reason and show the end of the server's log below it."""
        super().__init__("\n  ".join([reason, *log_lines]))
