"""Whose rows there are: those of several fleets stand beside each other, whatever ids their entries have."""

import pytest

from tests.builders import dead_record, record
from tests.contract.conftest import Stores
from worker.domain.fleets import Fleet, Stranger
from worker.domain.orders import Status

OURS, ITS = Fleet("ours", "results"), Fleet("its", "other-results")


def test_entries_of_two_sources_with_one_id_own_a_row_each(stores: Stores) -> None:
    stores.store(OURS).record([record("a", entry_id="1-1")])
    written = record("b", entry_id="1-1")

    (standing,) = stores.store(ITS).record([written])

    assert standing is written
    assert [row.order_id for row in stores.store(OURS).find(["1-1"]).values()] == ["a"]
    assert [row.order_id for row in stores.store(ITS).find(["1-1"]).values()] == ["b"]


@pytest.mark.parametrize("results", ["results", "other-results"])
def test_order_that_another_source_has_is_that_sources_whose_results_are_told(
    stores: Stores, results: str
) -> None:
    its = Fleet("its", results)
    stores.note(OURS)
    stores.note(its)
    stores.store(its).record([record("a", entry_id="7-7")])

    (standing,) = stores.store(OURS).record([record("a", entry_id="1-1")])

    assert standing.stranger == Stranger("its", results == "results")
    assert stores.store(OURS).find(["1-1", "7-7"]) == {}


def test_row_of_another_source_stands_when_its_entry_has_the_same_id(stores: Stores) -> None:
    stores.store(ITS).record([record("a", entry_id="1-1")])

    (standing,) = stores.store(OURS).record([record("a", entry_id="1-1")])

    assert standing.stranger is not None
    assert not standing.owned_by("1-1")


def test_replay_takes_over_no_row_of_another_source(stores: Stores) -> None:
    stores.store(ITS).record([dead_record("a", entry_id="1-1")])

    (standing,) = stores.store(OURS).record([record("a", entry_id="2-1", replay_of="1-1")])

    assert standing.status is Status.DEAD
    assert standing.stranger is not None


def test_own_row_stands_for_an_entry_of_another_order_that_has_no_row(stores: Stores) -> None:
    store = stores.store(OURS)
    store.record([record("a", entry_id="1-1")])

    (standing,) = store.record([record("b", entry_id="1-1")])

    assert (standing.order_id, standing.stranger) == ("a", None)
