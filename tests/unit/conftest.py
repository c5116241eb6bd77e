"""What several unit tests of the loop need."""

import pytest

from worker.consumer import loop


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an outage be waited out in no time."""
    monkeypatch.setattr(loop, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(loop, "LONGEST_WAIT_S", 0.001)
