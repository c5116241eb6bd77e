"""What tests wait for: longer where the machine is busy, and not for ever."""

import os
import time

import pytest

from tests.harness import eventually


def busy(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (times * (os.cpu_count() or 1), 0.0, 0.0))


def test_what_takes_longer_on_a_busy_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    busy(monkeypatch, times=1000)
    began = time.monotonic()

    eventually(lambda: time.monotonic() - began > 0.1, within=0.01)


@pytest.mark.parametrize("times", [0.1, 3])
def test_what_never_comes_is_waited_for_no_longer_than_the_machine_is_busy(
    monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    busy(monkeypatch, times)
    began = time.monotonic()

    with pytest.raises(AssertionError, match=r"not within 0 s \(0\.05 s on an idle machine\)"):
        eventually(lambda: False, within=0.05)

    assert time.monotonic() - began >= 0.05 * max(1, times)
