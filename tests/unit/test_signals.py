"""A wish to leave is heard wherever it finds the main thread."""

import subprocess
import sys

import pytest

HEARD = """
import os, signal, sys, threading, time
from worker.bootstrap.parts.signals import call_when_asked_to_leave
heard = threading.Event()
"""


def ends_well(program: str) -> bool:
    """Run a program that exits with 0 once its signal was heard."""
    return subprocess.run([sys.executable, "-c", HEARD + program], timeout=30, check=False).returncode == 0


def test_signal_is_heard_while_the_main_thread_blocks_and_is_not_interrupted() -> None:
    # To another thread: as if it came just before the main thread began to wait.
    assert ends_well("""
def send():
    # Until the main thread is at it; before that it would hear anyway.
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    os._exit(0 if heard.wait(10) else 1)

call_when_asked_to_leave(heard.set)
threading.Thread(target=send).start()
time.sleep(3600)
""")


def test_signal_is_heard_where_the_main_thread_holds_what_the_wish_needs() -> None:
    assert ends_well("""
lock = threading.Lock()

def wish():
    with lock:
        heard.set()

call_when_asked_to_leave(wish)
with lock:
    signal.raise_signal(signal.SIGINT)
sys.exit(0 if heard.wait(10) else 1)
""")


def test_signal_of_somebody_else_is_no_wish_to_leave() -> None:
    assert ends_well("""
others = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: others.set())
times = []
call_when_asked_to_leave(lambda: times.append(1) or heard.set())
signal.raise_signal(signal.SIGUSR1)
signal.raise_signal(signal.SIGTERM)
sys.exit(0 if heard.wait(10) and others.is_set() and len(times) == 1 else 1)
""")


def test_signal_to_a_forked_process_ends_that_one_and_nobody_else() -> None:
    assert ends_well("""
call_when_asked_to_leave(heard.set)
child = os.fork()
if child == 0:
    time.sleep(5)
    os._exit(0)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
sys.exit(0 if os.WTERMSIG(status) == signal.SIGTERM and not heard.wait(0.3) else 1)
""")


def test_interrupt_that_was_ignored_from_the_start_is_no_wish_to_leave() -> None:
    assert ends_well("""
signal.signal(signal.SIGINT, signal.SIG_IGN)
call_when_asked_to_leave(heard.set)
signal.raise_signal(signal.SIGINT)
early = heard.wait(0.3)
signal.raise_signal(signal.SIGTERM)
sys.exit(0 if not early and heard.wait(10) else 1)
""")


def test_interrupt_stays_ignored_where_there_is_no_terminal() -> None:
    assert ends_well("""
from worker.bootstrap.parts.signals import take_up_interrupts
os.setsid()
signal.signal(signal.SIGINT, signal.SIG_IGN)
take_up_interrupts()
sys.exit(0 if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else 1)
""")


@pytest.mark.parametrize(("group", "taken_up"), [("foreground", True), ("background", False)])
def test_interrupt_is_taken_up_again_in_the_foreground_of_a_terminal(group: str, *, taken_up: bool) -> None:
    assert ends_well(f"""
import pty
from worker.bootstrap.parts.signals import take_up_interrupts

def inside():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if {group!r} == "background":
        # Its parent's group keeps the terminal.
        if os.fork():
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        os.setpgid(0, 0)
    take_up_interrupts()
    os._exit((signal.getsignal(signal.SIGINT) is not signal.SIG_IGN) != {taken_up})

child, terminal = pty.fork()
if child == 0:
    inside()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")


def test_each_signal_is_heard_not_the_first_alone() -> None:
    assert ends_well("""
wishes = []
call_when_asked_to_leave(lambda: wishes.append(1) or (heard.set() if len(wishes) == 2 else None))
signal.raise_signal(signal.SIGTERM)
while not wishes:
    time.sleep(0.01)
signal.raise_signal(signal.SIGINT)
sys.exit(0 if heard.wait(10) else 1)
""")
