"""What every store does when several replicas record the same orders at once."""

from collections.abc import Sequence
from threading import Barrier, Thread

from tests.builders import record
from tests.contract.conftest import Stores
from worker.consumer.ports import Store
from worker.domain.orders import OrderRecord


def test_one_order_recorded_by_two_replicas_at_once_is_written_once(stores: Stores) -> None:
    names = [f"o{i}" for i in range(50)]
    batches = [
        [record(name, entry_id=f"{n}-{replica}") for n, name in enumerate(names)] for replica in range(2)
    ]
    batches[1].reverse()

    standing = at_once(stores, batches)

    for name in names:
        (first,), (second,) = ([row for row in each if row.order_id == name] for each in standing)
        assert first == second, "both replicas must see one owner"
    written = sum(
        row is mine
        for each, batch in zip(standing, batches, strict=True)
        for row, mine in zip(each, batch, strict=True)
    )
    assert written == len(names)


def at_once(stores: Stores, batches: Sequence[Sequence[OrderRecord]]) -> list[list[OrderRecord]]:
    """Record the batches from a thread each and return what each was told."""
    start = Barrier(len(batches))
    standing: list[list[OrderRecord]] = [[] for _ in batches]

    def work(place: int, store: Store) -> None:
        start.wait(5)
        standing[place] = store.record(batches[place])

    threads = [Thread(target=work, args=(place, stores.store())) for place in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return standing
