"""A child process that does not outlive its parent, however the parent ends."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local.account import Account
from local.interrupts import undisturbed
from local.process_table import children_of, process_table

# The guard reads "PID [stopped children...]" lines until the pipe closes, which the kernel
# sees to even after SIGKILL. PR_SET_PDEATHSIG would not do: it fires when the *thread* that
# forked ends, is dropped at a change of user, exists on Linux only and wakes no stopped server.
GUARD = """
end_by=$1
set --
while read -r line; do set -- $line; done
[ $# -gt 0 ] || exit 0
kill -CONT "$@"
kill "-$end_by" "$1"
tries=100
while [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; kill -0 "$1" || exit 0; done
kill -KILL "$1"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a process: it appends its output to `log`, and `end_by` asks it to end."""

    argv: Sequence[str]
    directory: Path
    environ: Mapping[str, str]
    log: Path
    end_by: signal.Signals = signal.SIGTERM
    account: Account | None = None
    inherited: tuple[int, ...] = ()


class GuardedProcess:
    """A running process in a session of its own, so that Ctrl-C in the terminal spares it."""

    def __init__(self, launch: Launch) -> None:
        """Start the process, and before it the guard that ends it when this process is gone."""
        self._end_by = launch.end_by
        with undisturbed():
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "guard", launch.end_by.name.removeprefix("SIG")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                self._process = _spawn(launch)
            except BaseException:
                self._dismiss_guard()
                raise
            self._inform_guard()

    @property
    def pid(self) -> int:
        """The id of the process itself, which is a direct child of this one."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    def ask_to_end(self) -> None:
        """Send the signal that asks the process to end, once it goes on if it was paused."""
        self.resume()
        self._process.send_signal(self._end_by)

    def await_end(self, within: float) -> int:
        """Return the exit code once the process has ended; kill it after `within` seconds."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode
        self._dismiss_guard()
        return code

    def kill(self) -> None:
        """End the process and its children by SIGKILL."""
        if self.poll() is None:
            # Stopped first: it cannot start another child between the look and the kill.
            self._process.send_signal(signal.SIGSTOP)
            _await_inert([self.pid])
            children = children_of(self.pid)
            self._process.kill()
            _signal_each(children, signal.SIGKILL)
            self._process.wait()
        self._dismiss_guard()

    def pause(self) -> None:
        """Stop the process and its children (SIGSTOP) and return when all stand still."""
        self._process.send_signal(signal.SIGSTOP)
        _await_inert([self.pid])
        children = children_of(self.pid)
        self._inform_guard(children)
        _signal_each(children, signal.SIGSTOP)
        _await_inert(children)

    def resume(self) -> None:
        """Let a paused process and its children go on; do nothing to a running one."""
        if self.poll() is None:
            _signal_each([*children_of(self.pid), self.pid], signal.SIGCONT)
            self._inform_guard()

    def _inform_guard(self, stopped_children: Sequence[int] = ()) -> None:
        line = " ".join(map(str, [self.pid, *stopped_children]))
        if self._guard.stdin is not None:
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()

    def _dismiss_guard(self) -> None:
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def _spawn(launch: Launch) -> subprocess.Popen[bytes]:
    account = launch.account
    with open(launch.log, "ab", opener=_for_owner_only) as log:
        return subprocess.Popen(
            launch.argv,
            cwd=launch.directory,
            env=launch.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=launch.inherited,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _signal_each(pids: Sequence[int], signal_number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal_number)


def _await_inert(pids: Sequence[int], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        table = process_table()
        if all(table[pid].inert for pid in pids if pid in table):
            return
        time.sleep(0.002)
