"""Threads that take turns: one runs at a time, and which one goes on is decided here, never by the machine.

The code under test blocks as it does in production. Its threads are real, since no other thing stops in the
middle of a call; each waits for a baton that is handed over at the steps of the model, and at its sleeps.
Time is a number: it moves when nobody can go on.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Any
from unittest.mock import patch

from tests.fakes import FakeClock
from worker.consumer import drain, lease

FOREVER = float("inf")


class Killed(BaseException):
    """The process was killed: nothing of it goes on. Not an Exception, so that nothing catches it."""


class Process:
    """What lives and dies as one: the threads of one simulated worker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped_until = 0.0


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, run: Callable[[], None]) -> None:
        self.process = process
        self.run = run
        self.wake_at = 0.0
        self.waits_for: Event | None = None
        self.started = False
        self.done = False
        self.error: Exception | None = None
        self.baton = Lock()

    @property
    def ready_at(self) -> float:
        """When it can go on: at once where its process was killed, since that is its end."""
        if self.process.dead:
            return 0.0
        awake = self.waits_for is not None and self.waits_for.is_set()
        return max(0.0 if awake else self.wake_at, self.process.stopped_until)


class Scheduler:
    """Decides who goes on: `preempts` says at each step if another task does, `picks` which of so many."""

    running: "Scheduler | None" = None

    def __init__(self, clock: FakeClock) -> None:
        self.preempts: Callable[[], bool] = lambda: False
        self.picks: Callable[[int], int] = lambda _count: 0
        self.clock = clock
        self.current: Task | None = None
        self.tasks: list[Task] = []
        self.on_idle: Callable[[], None] = lambda: None
        self.on_end: Callable[[Task], None] = lambda _task: None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._main = Lock()
        self._main.acquire()
        self._left = -1
        self._broken: Exception | None = None

    def run(self, pauses: int = -1) -> None:
        """Let the tasks run until none is left, or for so many pauses; may be called again then."""
        Scheduler.running, self._left = self, pauses
        self._hand_over(self.current or self._next())
        self._main.acquire()
        Scheduler.running = None
        if self._broken is not None:
            raise self._broken

    def spawn(self, process: Process, run: Callable[[], None]) -> Task:
        """Add a task, which has its first turn when it is picked."""
        task = Task(process, run)
        self.tasks.append(task)
        return task

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something at a time of the clock, between two turns."""
        heapq.heappush(self._timers, (seconds, next(self._numbers), act))

    @property
    def timers(self) -> int:
        """How many things are still to happen by themselves."""
        return len(self._timers)

    def pause(self) -> None:
        """Be at a step, where others may go on and a process may die."""
        task = self._me()
        if self._left > 0:
            self._left -= 1
        elif self._left == 0:
            self._main.release()
            task.baton.acquire()
            task = self._me()
        if task.process.stopped_until > self.clock.seconds or (len(self.tasks) > 1 and self.preempts()):
            self._give_way(task)

    def sleep(self, seconds: float, event: Event | None = None) -> bool:
        """Let others go on until the time has passed or the event is set; return whether it is."""
        task = self._me()
        if event is not None and event.is_set():
            return True
        task.wake_at, task.waits_for = self.clock.seconds + seconds, event
        self._give_way(task)
        task.wake_at, task.waits_for = 0.0, None
        return event is not None and event.is_set()

    def finish(self, task: Task) -> None:
        """Take a task off the stage, at the end of its thread's turn."""
        task.done = True
        self.tasks.remove(task)
        self.on_end(task)
        self._hand_over(self._next())

    def _me(self) -> Task:
        task = self.current
        assert task is not None
        if task.process.dead:
            raise Killed
        return task

    def _give_way(self, task: Task) -> None:
        chosen = self._next()
        if chosen is not task:
            self._hand_over(chosen)
            task.baton.acquire()
        if task.process.dead:
            raise Killed

    def _next(self) -> Task | None:
        try:
            return self._choose()
        except Exception as error:  # noqa: BLE001  raised again
            # A defect of the model ends the history, in the thread that asked for it.
            self._broken = error
            for task in self.tasks:
                task.process.dead = True
            return self.tasks[0] if self.tasks else None

    def _choose(self) -> Task | None:
        while self.tasks or self._timers:
            now = self.clock.seconds
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            ready = [task for task in self.tasks if task.ready_at <= now]
            if len(ready) > 1:
                others = [task for task in ready if task is not self.current]
                return others[self.picks(len(others)) if len(others) > 1 else 0]
            if ready:
                return ready[0]
            self.on_idle()
            wakes = [task.ready_at for task in self.tasks]
            wakes += [timer[0] for timer in self._timers[:1]]
            if wakes:
                self.clock.advance(max(min(wakes) - now, 0.0))
        return None

    def _hand_over(self, task: Task | None) -> None:
        self.current = task
        if task is None:
            self._main.release()
        elif task.started:
            task.baton.release()
        else:
            task.started = True
            (_idle.pop() if _idle else _Stage()).begin(self, task)


_idle: list["_Stage"] = []


class _Stage(Thread):
    """A thread that runs one task after another: making one for each costs more than a whole history."""

    def __init__(self) -> None:
        super().__init__(name="model", daemon=True)
        self._begin = Lock()
        self._begin.acquire()
        self._next: tuple[Scheduler, Task] | None = None
        self.start()

    def begin(self, scheduler: Scheduler, task: Task) -> None:
        self._next = (scheduler, task)
        self._begin.release()

    def run(self) -> None:
        while True:
            self._begin.acquire()
            assert self._next is not None
            scheduler, task = self._next
            self._next = None
            task.baton.acquire()
            try:
                task.run()
            except Killed:
                pass
            except Exception as error:  # noqa: BLE001  whatever ends a worker is for the history to tell
                task.error = error
            _idle.append(self)
            scheduler.finish(task)
            del scheduler, task


def _scheduler() -> Scheduler:
    assert Scheduler.running is not None
    return Scheduler.running


class SimulatedEvent(Event):
    """An event that is waited for in simulated time."""

    def wait(self, timeout: float | None = None) -> bool:
        return _scheduler().sleep(FOREVER if timeout is None else timeout, self)


class SimulatedThread(Thread):
    """A thread of the process whose thread starts it."""

    def __init__(self, *, target: Callable[[], None], **_options: Any) -> None:
        super().__init__()
        self._body = target
        self._task: Task | None = None
        self._over = SimulatedEvent()

    def start(self) -> None:
        scheduler = _scheduler()
        assert scheduler.current is not None
        self._task = scheduler.spawn(scheduler.current.process, self._work)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def _work(self) -> None:
        try:
            self._body()
        finally:
            self._over.set()


@contextmanager
def simulated_threads() -> Iterator[None]:
    """Let the consumer make its threads and events here, as long as this lasts."""
    with (
        patch.multiple(lease, Thread=SimulatedThread, Event=SimulatedEvent),
        patch.object(drain, "Event", SimulatedEvent),
    ):
        yield
