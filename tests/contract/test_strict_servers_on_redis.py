"""Services that refuse calls of 4,000 arguments and keys that a script was not given: any batch works."""

from collections import Counter

import pytest

from tests.contract.conftest import RealStreams
from tests.contract.test_settlement_contract import burial, publication
from tests.harness import Deployment, numbered_orders
from tests.strictness import REFUSED_FROM, strict
from worker.stream import OrderStream

__all__ = ["strict"]

MOST = 10_000  # what BATCH_SIZE may be
# More than fits into one call, even where each of them takes one argument.
MANY = 4_100


@pytest.fixture
def one(strict: Counter[str], real_streams: RealStreams) -> OrderStream:  # noqa: ARG001  scripts are made with it
    return real_streams.consumer("one")


def test_largest_batch_is_taken_kept_and_settled_in_calls_of_fewer_than_4000_arguments(
    deployment: Deployment, real_streams: RealStreams, strict: Counter[str], one: OrderStream
) -> None:
    ids = deployment.submit(numbered_orders(MANY))
    strict.clear()

    taken = one.read(MOST, 1)
    kept = one.renew(ids), one.charge(dict.fromkeys(ids, 2))
    one.set_aside(ids)
    one.release(dict.fromkeys(ids, 1))
    two = real_streams.consumer("two")
    claimed = two.claim("0-0", MOST).deliveries
    fetched = two.fetch(dict.fromkeys(ids, 2))
    settling = two.settle([publication(each) for each in ids[1:]] + [burial(ids[0])], written_since_ms=10**15)

    assert [each.entry_id for each in taken] == [each.entry_id for each in claimed] == ids
    assert kept == ([], [])
    assert list(fetched.bodies) == ids
    assert settling.new == MANY
    assert real_streams.pending() == {}
    assert {name: words for name, words in strict.items() if words >= REFUSED_FROM} == {}
    assert strict["EVALSHA"] > REFUSED_FROM * 0.9


def test_entries_of_one_fetch_have_one_limit_however_many_calls_it_takes(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    ids = deployment.submit(numbered_orders(MANY))
    one.read(MOST, 1)
    whole = one.fetch(dict.fromkeys(ids))
    sizes = {each: one._held_of(body) for each, body in whole.bodies.items()}  # noqa: SLF001
    limited = OrderStream(
        real_streams.link,
        real_streams.names("one"),
        lease_ms=30_000,
        results_channel=None,
        batch_bytes=sum(sizes[each] for each in ids[:3000]),
    )

    fetched = limited.fetch(dict.fromkeys(ids))

    assert list(fetched.bodies) == ids[:3000]
    assert fetched.left == set(ids[3000:])


def test_what_another_holds_is_told_of_every_part(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    ids = deployment.submit(numbered_orders(MANY))
    real_streams.consumer("another").read(MOST, 1)

    assert one.renew(ids) == ids
