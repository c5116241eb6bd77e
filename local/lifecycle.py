"""What every local server can do: start, stop, be killed, be paused."""

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from local.directory import held, kept_port, kept_secret, last_lines, make_directory
from local.errors import LocalServerFailed
from local.guarded import GuardedProcess

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
# As long as the guard of a parent that died gives a server to end.
PREDECESSOR_LIMIT_S = 12.0


class LocalServer(ABC):
    """A real server on a free loopback port that keeps password, port and data in its directory.

    It ends when the process that started it ends, even by SIGKILL. Directories can be moved
    between runs; two servers never work on one.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        """Take the directory, which need not exist yet; nothing is started."""
        self.directory = directory.absolute()
        self.log = self.directory / "log"
        self._process: GuardedProcess | None = None
        self._port: int | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, password included."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the program, such as 7.0.15."""

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, the same for as long as this object lives."""
        if self._port is None:
            make_directory(self.directory)
            self._port = kept_port(self.directory / "port")
        return self._port

    @property
    def password(self) -> str:
        """The random password, made at the first start."""
        return kept_secret(self.directory / "password")

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process is there (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server on the data of the last run and return once it answers."""
        if self.is_running:
            return
        make_directory(self.directory)
        lock = self.directory / "lock"
        refusal = f"Another {self.name} still works on {self.directory}; stop it first."
        with held(lock, PREDECESSOR_LIMIT_S, refusal) as descriptor:
            self._process = self._spawn(descriptor)
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to shut down in good order and return when it is gone."""
        if self._process is not None:
            self._process.ask_to_end()
            self._process.await_end(STOP_LIMIT_S)
        self._process = None

    def kill(self) -> None:
        """End the server and its children by SIGKILL, as a crash of the machine would."""
        if self._process is not None:
            self._process.kill()
        self._process = None

    def pause(self) -> None:
        """Stop the whole server (SIGSTOP): its port accepts, and nothing answers."""
        self._running().pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().resume()

    @abstractmethod
    def _spawn(self, lock: int) -> GuardedProcess:
        """Make what the server needs and start its process, which inherits the descriptor of the lock."""

    @abstractmethod
    def _answers(self) -> bool:
        """Ask the server something over a connection with its password."""

    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise LocalServerFailed(f"The local {self.name} is not running.")
        return self._process

    def _await_answer(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            code = process.poll()
            if code is not None:
                raise LocalServerFailed(
                    f"{self.name} ended with code {code} at its start; the end of {self.log}:",
                    last_lines(self.log),
                )
            if time.monotonic() > deadline:
                raise LocalServerFailed(
                    f"{self.name} did not answer within {START_LIMIT_S:.0f} s; the end of {self.log}:",
                    last_lines(self.log),
                )
            time.sleep(0.01)


def server_environ() -> dict[str, str]:
    """Return the little that a server needs: our own secrets are no business of another user's process."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}
