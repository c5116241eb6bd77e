"""Replicas, servers and connections fail at random moments, all at once and for long."""

from collections import Counter

import pytest

from tests.faults.storm.conftest import chosen_size
from tests.faults.storm.plan import FULL
from tests.faults.storm.replicas import ENDS
from tests.faults.storm.steps import EVERY_STEP
from tests.faults.storm.storm import MAX_DELIVERIES, Aftermath
from tests.fleets import assert_audits_are_clean, rows
from tests.harness import assert_invariants

# A kill costs half a second at the most, an order of poison some of its leases.
pytestmark = pytest.mark.timeout(300 + 2 * chosen_size().kills)
# What must have died at each step of a full storm.
LEAST_KILLS_AT_A_STEP = 20


def test_nothing_is_lost_doubled_or_left_without_its_result_in_a_storm(left: Aftermath) -> None:
    found = left.account
    assert (found.lost, found.doubled, found.missing_results, found.forgotten_by_redis) == (0, 0, 0, 0)
    for deployment in left.deployments:
        assert_invariants(deployment, *left.tallies)
    assert_audits_are_clean(left.deployments)


def test_reader_of_results_sees_each_order_once_in_a_storm(left: Aftermath) -> None:
    assert (left.account.seen_twice, left.account.unseen) == (0, 0)


def test_only_what_deserves_it_is_buried_in_a_storm(left: Aftermath) -> None:
    kinds = left.kinds
    assert left.account.innocents_buried == 0
    assert left.account.dead == {kind: kinds[kind] for kind in ("conflict", "undecodable", "poison")}
    assert left.executions.keys() == left.poisonous
    assert max(left.executions.values()) <= MAX_DELIVERIES


def test_every_planned_fault_strikes_and_no_replica_ends_otherwise(left: Aftermath) -> None:
    assert left.faults == left.size.faults
    assert left.ends["killed"] == left.size.kills
    assert left.ends.keys() <= {"killed", *ENDS.values()}


def test_kills_land_at_every_step(left: Aftermath) -> None:
    least = LEAST_KILLS_AT_A_STEP if left.size.kills >= FULL.kills else 1
    assert not [step.text for step in EVERY_STEP if left.killed_at[step] < least]


def test_fleets_of_a_storm_have_had_the_same_entry_ids(left: Aftermath) -> None:
    """Proves that the figures of two fleets are of entries that nothing but their source tells apart."""
    sent = left.size.orders // len(left.deployments)
    first, *others = (deployment.accepted[-sent:] for deployment in left.deployments)
    assert len(first) == sent
    assert others == [first] * len(others)


def test_each_fleet_and_each_version_has_its_share_of_a_storm(left: Aftermath) -> None:
    """Proves that the figures of two versions are those of rows and marks of both.

    Rows of the last one have no source.
    """
    shares = Counter(row.source for row in rows(left.deployments[0]))
    versions = len(left.kills_by_version)
    assert shares.keys() == {each.orders for each in left.deployments} | ({""} if versions > 1 else set())
    assert min(shares.values()) >= left.size.orders / 10
    assert min(left.kills_by_version) >= left.size.kills / 10
