"""`python -m local COMMAND [ARG...]`: a command with local servers in its environment."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from local import LocalServerError, local_servers

UNREACHABLE = 3
NOT_FOUND = 127
KILLED_BY = 128


class Relay:
    """Passes SIGINT and SIGTERM on to the command, so that it, and not this process, decides to end."""

    def __init__(self) -> None:
        """Take over both signals; before there is a command they end this process in good order."""
        self._command: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run the command to its end and return its exit code as a shell would."""
        try:
            self._command = subprocess.Popen(argv, env=environ)
        except OSError as error:
            sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
            return NOT_FOUND
        code = self._command.wait()
        return code if code >= 0 else KILLED_BY - code

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._command is None:
            raise SystemExit(KILLED_BY + number)
        if number != signal.SIGINT or not _terminal_signals_us():
            self._command.send_signal(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of the arguments and return its exit code, 3 where no server can be had."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".local"), help="default: %(default)s")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND [ARG...]")
    options = parser.parse_args(argv)
    if not options.command:
        parser.error("a command is needed")
    relay = Relay()
    try:
        with local_servers(options.directory, os.environ, _tell) as environ:
            return relay.run(options.command, environ)
    except LocalServerError as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _terminal_signals_us() -> bool:
    # Ctrl-C reaches the whole foreground group, the command included. A second SIGINT may mean "at once" to
    # it.
    return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()


if __name__ == "__main__":
    sys.exit(main())
