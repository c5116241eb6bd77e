"""The wish to leave: the first asks for a clean end, the second for a quick one."""

from threading import Event


class Drain:
    """Set by signals, watched by the loop; may be waited on, so that no back-off outlasts it."""

    def __init__(self) -> None:
        self.event = Event()
        self.hurried = False

    @property
    def requested(self) -> bool:
        """Whether the loop should take nothing more."""
        return self.event.is_set()

    def request(self) -> None:
        """Ask to leave; asked again: leave right after the current transaction."""
        if self.event.is_set():
            self.hurried = True
        self.event.set()
