"""The figures of a run, and whether they add up."""

from dataclasses import replace

import pytest

from local.tally import Counts, Queue, Tally

FIRST = Counts(received=6, filled=4, rejected=1, duplicate=1)
SECOND = Counts(received=4, filled=2, error=1, dead=1)
SOUND = Tally(
    submitted=10,
    replicas=(FIRST, SECOND),
    queue=Queue(lag=0, pending=0, results=108),
    results_before=100,
    seconds=2.0,
)


def test_sound_run_has_no_faults() -> None:
    assert SOUND.faults() == []
    assert SOUND.results == 8
    assert SOUND.orders_per_second == 5.0


def test_sound_run_has_no_faults_when_redis_does_not_know_the_lag() -> None:
    assert replace(SOUND, queue=replace(SOUND.queue, lag=None)).faults() == []


def test_sound_run_has_no_faults_when_an_earlier_run_left_orders() -> None:
    tally = replace(SOUND, submitted=7)

    assert tally.faults() == []
    assert tally.left_by_earlier_run == 3


@pytest.mark.parametrize("results", [108, 109], ids=["published before", "published now"])
def test_sound_run_has_no_faults_when_an_order_was_answered_again(results: int) -> None:
    again = replace(FIRST, received=7, answered_again=1)
    tally = replace(SOUND, replicas=(again, SECOND), queue=replace(SOUND.queue, results=results))

    assert tally.faults() == []


@pytest.mark.parametrize(
    ("tally", "fault"),
    [
        (replace(SOUND, submitted=11), "Of 11 submitted orders these replicas settled 10"),
        (
            replace(SOUND, queue=Queue(0, 0, 107)),
            "7 results were added to the stream, 8 orders were executed",
        ),
        (
            replace(SOUND, queue=Queue(0, 0, 109)),
            "9 results were added to the stream, 8 orders were executed",
        ),
        (replace(SOUND, queue=Queue(0, 1, 108)), "Pending entries: 1"),
        (replace(SOUND, queue=Queue(0, None, 108)), "Pending entries: None"),
        (replace(SOUND, queue=Queue(3, 0, 108)), "Undelivered entries: 3"),
        (
            replace(SOUND, replicas=(replace(FIRST, received=7), SECOND)),
            "Received 11, but filled 6 + rejected 1 + error 1 + duplicate 1 + dead 1 = 10",
        ),
    ],
)
def test_run_names_what_does_not_add_up(tally: Tally, fault: str) -> None:
    faults = tally.faults()

    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_counts_are_read_from_the_status_of_a_replica() -> None:
    status = {
        "stats": {"orders_received": 3, "orders_filled": 2, "orders_dead": 1, "uptime_seconds": 0.5},
        "redis": {"connected": True, "lag": None, "pending": 0, "results": 2},
    }

    assert Counts.of(status) == Counts(received=3, filled=2, dead=1)
    assert Queue.of(status) == Queue(lag=None, pending=0, results=2)


def test_figures_of_redis_are_unknown_when_it_is_away() -> None:
    assert Queue.of({"redis": {"connected": False}}) == Queue(None, None, None)
