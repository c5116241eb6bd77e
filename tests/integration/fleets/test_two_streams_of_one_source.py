"""Two orders streams on one database under one WORKER_SOURCE.

Replicas say so, and `worker status` asks for a person.
"""

import json

import pytest
from structlog.testing import capture_logs

from tests.acceptance.test_commands import worker
from tests.fleets import result_ids, small_order, status
from tests.harness import Deployment, eventually
from tests.inprocess import running
from worker.source import registration

Two = tuple[Deployment, Deployment]
SHARED = "several orders streams are worked on under one source"


@pytest.fixture(params=["streams of two names", "two servers"])
def mixed_up(request: pytest.FixtureRequest) -> Two:
    """Two fleets that have a database in common, and that nothing but a source could tell apart."""
    if request.param == "two servers":
        return request.getfixturevalue("deployment"), request.getfixturevalue("elsewhere")
    fleets: Two = request.getfixturevalue("fleets")
    return fleets


@pytest.fixture(autouse=True)
def replicas_register_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have those at work learn of each other within a moment instead of ten seconds."""
    monkeypatch.setattr(registration, "EVERY_S", 0.1)


def test_two_streams_under_one_source_are_told_in_the_log_and_by_status(mixed_up: Two) -> None:
    """Proves that mixed up fleets are noticed before anything of theirs meets.

    Both sides notice it and say what to set.
    """
    with capture_logs() as logged, running(mixed_up[0], source="mine"), running(mixed_up[1], source="mine"):
        eventually(lambda: [each["event"] for each in logged].count(SHARED) == 2)
        shown, listed = (
            [worker(fleet, "status", *more, source="mine") for fleet in mixed_up]
            for more in ((), ("--json",))
        )

    said = [each for each in logged if each["event"] == SHARED]
    advice = "give each fleet on this database a WORKER_SOURCE of its own"
    assert (
        said
        == [{"event": SHARED, "log_level": "warning", "source": "mine", "streams": 2, "to_do": advice}] * 2
    )
    text = "2 orders streams are worked on under one source: give each fleet a WORKER_SOURCE of its own"
    condition = {"name": "shared_source", "text": text, "command": None, "needs_person": True}
    for plain, as_json in zip(shown, listed, strict=True):
        assert (plain.returncode, as_json.returncode) == (1, 1)
        assert plain.stdout.startswith("Needs you: ")
        assert text in plain.stdout
        assert condition in json.loads(as_json.stdout)["verdict"]["conditions"]


def test_nothing_is_told_when_each_of_two_streams_has_a_source_of_its_own(mixed_up: Two) -> None:
    """Proves that the advice mends it, and that two fleets on one database are no mistake in themselves."""
    with capture_logs() as logged:
        for round_ in range(2):
            for fleet, source in zip(mixed_up, ("here", "there"), strict=True):
                fleet.submit([small_order(f"{source}-{round_}")])
                with running(fleet, source=source):
                    eventually(fleet.all_settled)

    assert [result_ids(fleet) for fleet in mixed_up] == [["here-0", "here-1"], ["there-0", "there-1"]]
    assert SHARED not in [each["event"] for each in logged]
    for fleet, source in zip(mixed_up, ("here", "there"), strict=True):
        found = status(fleet, source=source)[1]["verdict"]["conditions"]
        assert "shared_source" not in [each["name"] for each in found]
