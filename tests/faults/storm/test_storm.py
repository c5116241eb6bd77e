"""Replicas, servers and connections fail at random moments, all at once and for long."""

import pytest

from tests.faults.storm.conftest import chosen_size
from tests.faults.storm.plan import FULL
from tests.faults.storm.replicas import ENDS
from tests.faults.storm.steps import EVERY_STEP
from tests.faults.storm.storm import MAX_DELIVERIES, Aftermath
from tests.harness import Deployment, assert_invariants

# A kill costs half a second at the most, an order of poison some of its leases.
pytestmark = pytest.mark.timeout(300 + 2 * chosen_size().kills)
# What must have died at each step of a full storm.
LEAST_KILLS_AT_A_STEP = 20


def test_nothing_is_lost_doubled_or_left_without_its_result_in_a_storm(
    after_the_storm: tuple[Deployment, Aftermath],
) -> None:
    deployment, left = after_the_storm

    found = left.account
    assert (found.lost, found.doubled, found.missing_results, found.forgotten_by_redis) == (0, 0, 0, 0)
    assert_invariants(deployment, *left.tallies)


def test_reader_of_results_sees_each_order_once_in_a_storm(
    after_the_storm: tuple[Deployment, Aftermath],
) -> None:
    _, left = after_the_storm

    assert (left.account.seen_twice, left.account.unseen) == (0, 0)


def test_only_what_deserves_it_is_buried_in_a_storm(after_the_storm: tuple[Deployment, Aftermath]) -> None:
    _, left = after_the_storm

    kinds = left.sent.kinds
    assert left.account.innocents_buried == 0
    assert left.account.dead == {kind: kinds[kind] for kind in ("conflict", "undecodable", "poison")}
    assert left.executions.keys() == left.sent.poisonous
    assert max(left.executions.values()) <= MAX_DELIVERIES


def test_every_planned_fault_strikes_and_no_replica_ends_otherwise(
    after_the_storm: tuple[Deployment, Aftermath],
) -> None:
    _, left = after_the_storm

    assert left.faults == left.size.faults
    assert left.ends["killed"] == left.size.kills
    assert left.ends.keys() <= {"killed", *ENDS.values()}


def test_kills_land_at_every_step(after_the_storm: tuple[Deployment, Aftermath]) -> None:
    _, left = after_the_storm

    least = LEAST_KILLS_AT_A_STEP if left.size.kills >= FULL.kills else 1
    assert not [step.text for step in EVERY_STEP if left.killed_at[step] < least]
