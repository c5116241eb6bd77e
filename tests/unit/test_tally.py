"""The one book: what is counted for which outcome, and that it always adds up."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import delivery, record
from tests.fakes import FakeClock
from worker.consumer import SignOfLife, Tally
from worker.consumer.tally import kind
from worker.domain.deliveries import Dead, Duplicate, Outcome, Retry, Settled
from worker.domain.orders import Status

OUTCOMES: dict[str, Outcome] = {
    "filled": Settled(delivery(), record(), answered=False),
    "rejected": Settled(delivery(), record(status=Status.REJECTED), answered=False),
    "error": Settled(delivery(), record(status=Status.ERROR), answered=False),
    "answered_again": Settled(delivery(), record(), answered=True),
    "duplicate": Duplicate(delivery(), "a"),
    "dead": Dead(delivery(), "poison", "why", None),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome_is_counted_under_its_name_and_leaves_the_hand(name: str) -> None:
    tally = Tally()
    tally.take(1)

    tally.settle({name: 1})

    assert kind(OUTCOMES[name]) == name
    assert _counted(tally) == {"received": 1, name: 1, "batches": 1}


def test_retry_stays_in_hand_and_is_counted_nowhere() -> None:
    tally = Tally()
    tally.take(1)

    tally.settle({kind(Retry(delivery(), "why")): 1})

    assert _counted(tally) == {"received": 1, "in_hand": 1, "batches": 1}


@given(
    names=st.lists(st.sampled_from([*OUTCOMES, "retry"]), max_size=30),
    lost=st.integers(0, 5),
    waiting=st.integers(0, 5),
)
def test_counters_add_up_whatever_happens(names: list[str], lost: int, waiting: int) -> None:
    tally = Tally()
    tally.take(len(names) + lost + waiting)

    tally.settle(Counter(names))
    tally.lose(lost)

    assert tally.received == tally.handed_back + tally.in_hand + sum(
        getattr(tally, name) for name in OUTCOMES
    )
    assert tally.in_hand == waiting + names.count("retry")


def test_sign_of_life_ages_until_it_is_given_again() -> None:
    clock = FakeClock()
    life = SignOfLife(clock.monotonic)
    clock.advance(5)
    before = life.age_s

    life.give()

    assert (before, life.age_s) == (5, 0)


def _counted(tally: Tally) -> dict[str, int]:
    return {name: count for name, count in msgspec.structs.asdict(tally).items() if count}
