"""The command `worker`, also `python -m worker`: hears a wish to leave before it imports what takes time."""

import sys

from worker.bootstrap.parts.signals import end_when_asked_to_leave

# These go on until they are asked to leave, so they have done all they should; of others nobody must think
# so.
UNTIL_ASKED = {"bridge", "run"}
EXIT_DONE = 0
EXIT_TERMINATED = 143


def main() -> None:
    """Run the command line."""
    end_when_asked_to_leave(EXIT_DONE if set(sys.argv[1:2]) & UNTIL_ASKED else EXIT_TERMINATED)
    # As process 1 a signal that nobody hears is lost, and importing the rest takes most of a second.
    from worker.cli import main as command_line  # noqa: PLC0415

    command_line()


if __name__ == "__main__":
    main()
