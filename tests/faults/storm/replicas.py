"""Places for replicas under a supervisor: what died is forked again from a process that has all imported."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.forkserver import Forked, Forkserver
from tests.faults.storm.steps import Crumbs, MarkedExecutor, MarkedStore, MarkedStream, Step, watch_commits
from worker.bootstrap.parts.signals import call_when_asked_to_leave
from worker.bootstrap.replica import EXIT_STOPPED, replica
from worker.domain.errors import ConfigurationError, Outage, Stopped
from worker.ops import configure_logs
from worker.settings import read_settings

EXIT_POISONED = 9
EXIT_NO_SERVER = 3
EXIT_NO_PORT = 78
ENDS = {
    0: "drained",
    EXIT_POISONED: "poison",
    EXIT_NO_SERVER: "no server at start",
    EXIT_NO_PORT: "no port at start",
    EXIT_STOPPED: "deadline passed",
}
TRY_AGAIN_AFTER_S = 0.2
DRAIN_LIMIT_S = 20.0


def run(arguments: Sequence[str]) -> None:
    """Be the replica of a place, in a process of its own, with the settings of its environment."""
    crumbs, place = Crumbs(Path(arguments[0])), int(arguments[1])
    watch_commits(crumbs, place)
    configure_logs(level="INFO", form="json")
    try:
        with replica(
            read_settings(os.environ),
            wrap_stream=lambda inner: MarkedStream(inner, crumbs, place),
            wrap_store=lambda inner: MarkedStore(inner, crumbs, place),
            wrap_executor=lambda inner: MarkedExecutor(inner, crumbs, place),
        ) as made:
            call_when_asked_to_leave(made.drain.request)
            crumbs.drop(place, Step.IDLE)
            made.run()
    except Outage as outage:
        sys.stderr.write(f"{outage}\n")
        sys.exit(EXIT_NO_SERVER)
    except ConfigurationError as error:
        # Another process has taken the port since it was found to be free.
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_NO_PORT)
    except Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        sys.exit(EXIT_STOPPED)


class Place:
    """One place for a replica, and how all that stood there ended."""

    def __init__(
        self,
        number: int,
        server: Forkserver,
        environment: Callable[[], dict[str, str]],
        crumbs: Crumbs,
        log: Path,
    ) -> None:
        self.number = number
        self.log = log
        self._server = server
        self._environment = environment
        self._crumbs = crumbs
        self._process: Forked | None = None
        self._wake_at: float | None = None
        self._start_at = 0.0
        self._leaving = False
        self.ends: Counter[str] = Counter()
        self.killed_at: Counter[Step] = Counter()

    @property
    def can_be_struck(self) -> bool:
        """Whether a replica runs here and is awake."""
        return self._process is not None and self._wake_at is None and self._process.poll() is None

    @property
    def is_at_work(self) -> bool:
        """Whether a replica runs here, is awake and has started: only then it hears that it is to leave."""
        return self.can_be_struck and Step.STARTING not in self.steps()

    @property
    def pid(self) -> int | None:
        """The process here."""
        return None if self._process is None else self._process.pid

    def steps(self) -> set[Step]:
        """What the replica is about, or was when it ended."""
        return self._crumbs.steps(self.number)

    def look(self, now: float) -> None:
        """Wake who has slept long enough, note who has ended, start who is to follow."""
        if self._wake_at is not None and now >= self._wake_at:
            self._wake_at = None
            self._signal(signal.SIGCONT)
        if self._process is not None and self._process.poll() is not None:
            self._bury(now)
        if self._process is None and now >= self._start_at and not self._leaving:
            self._start()

    def kill(self) -> bool:
        """Kill what runs here; return whether that is what it died of."""
        self._signal(signal.SIGKILL)
        return self._process is not None and self._process.wait() == -signal.SIGKILL

    @property
    def was_killed(self) -> bool:
        """Whether what ran here died of SIGKILL and has not been noted yet."""
        return self._process is not None and self._process.poll() == -signal.SIGKILL

    def stop(self, until: float) -> None:
        """Stop what runs here, for a time."""
        self._wake_at = until
        self._signal(signal.SIGSTOP)

    def ask_to_leave(self) -> None:
        """Ask for a drain; nobody follows."""
        self._leaving = True
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def await_end(self) -> None:
        """Return when the place is empty."""
        if self._process is not None:
            self._process.wait(DRAIN_LIMIT_S)
            self._bury(time.monotonic())

    def _start(self) -> None:
        self._crumbs.clear(self.number)
        arguments = [str(self._crumbs.file), str(self.number)]
        self._process = self._server.fork("storm", arguments, self._environment(), self.log)

    def _bury(self, now: float) -> None:
        assert self._process is not None
        code = self._process.poll()
        assert code is not None
        if code == -signal.SIGKILL:
            self.ends["killed"] += 1
            self.killed_at.update(self.steps())
        else:
            self.ends[ENDS.get(code, f"exit code {code}")] += 1
            if code in {EXIT_NO_SERVER, EXIT_NO_PORT}:
                self._start_at = now + TRY_AGAIN_AFTER_S
        self._process, self._wake_at = None, None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
