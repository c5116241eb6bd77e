"""Defects that a worker or a server could have, to see that a history goes wrong with each of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from tests.fakes import FakeOrders, FakeStore, FakeStream
from tests.faults.model.defect import Defect
from tests.faults.model.replica import Parts
from tests.groups import Group, id_order
from worker.consumer import Intake, Worker
from worker.domain.deliveries import Delivery, Fetched, Outcome, Settlement, Settling
from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import OrderRecord, Status


class _Marker(FakeOrders):
    def settle(self, settlements: Sequence[Settlement], **named: Any) -> Settling:
        self.stream.settled.clear()
        return super().settle(settlements, **named)


class _Thief(FakeOrders):
    def renew(self, entry_ids: Collection[str]) -> list[str]:
        pending = self.group.pending if self.group else {}
        for entry_id in entry_ids:
            if entry_id in pending:
                pending[entry_id].consumer = self._consumer
        return super().renew(entry_ids)


class _Uncharging(FakeOrders):
    def charge(self, counts: Mapping[str, int]) -> list[str]:
        return self.renew(counts)

    def fetch(self, charges: Mapping[str, int | None], *, beside: int = 0) -> Fetched:
        return super().fetch(dict.fromkeys(charges), beside=beside)


class _Unforgiving(FakeOrders):
    def charge(self, counts: Mapping[str, int]) -> list[str]:
        pending = self.group.pending if self.group else {}
        return super().charge(
            {each: max(n, pending[each].count if each in pending else 0) for each, n in counts.items()}
        )


class _Holding(FakeOrders):
    def release(self, counts: Mapping[str, int]) -> None:
        self.charge(counts)


class _Unnoticing(FakeOrders):
    def _note_trimmed(self, group: Group, entry_id: str) -> None:
        del group.pending[entry_id]


class _Unacking(FakeOrders):
    def settle(self, settlements: Sequence[Settlement], **named: Any) -> Settling:
        fresh = [each for each in settlements if each.entry_id not in self.stream.settled]
        return super().settle(fresh, **named)


class _Unsweeping(FakeOrders):
    def own_pending(self, count: int, *, known: Collection[str]) -> list[Delivery]:
        del count, known
        return []


class _Sleepwalker(FakeOrders):
    def _left_to_others(self, settlement: Settlement) -> bool:
        del settlement
        return False

    def nobody_can_know(self, settlement: Settlement) -> bool:
        del settlement
        return False


class _FromNow(FakeStream):
    def make_group(self, name: str = "") -> Group:
        newest = max(map(id_order, self.entries), default=(0, 0))
        return self.groups.setdefault(name or self.group_name, Group(delivered=newest))


class _Forgetful(FakeStore):
    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        del entry_ids
        return {}


class _Rowless(FakeStore):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        standing = iter(super().record([each for each in records if each.status is not Status.DEAD]))
        return [each if each.status is Status.DEAD else next(standing) for each in records]


class _Overwriting(FakeStore):
    def _free(self, record: OrderRecord) -> bool:
        del record
        return True


class _LosesRetries(Intake):
    def leftovers(self) -> list[Delivery]:
        return [each for each in super().leftovers() if each.count == 0]


class _LosesOutcomes(Worker):
    def settle(self, outcomes: Sequence[Outcome]) -> None:
        try:
            super().settle(outcomes)
        except Outage:
            self.lease.let_go(self.in_hand)
            self.tally.release(len(self.in_hand))
            self.in_hand, self.outcomes = [], None
            raise


class _Between:
    """Passes everything on but for what a defect does otherwise."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


def _given_up(records: Sequence[OrderRecord], why: str) -> list[OrderRecord]:
    return [replace(each, status=Status.DEAD, error_message=why) for each in records]


class _Pessimist(_Between):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        try:
            found: list[OrderRecord] = self._port.record(records)
        except Outage:
            return _given_up(records, "failed: no commit")
        return found


class _Optimist(_Between):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        try:
            found: list[OrderRecord] = self._port.record(records)
        except Outage:
            return list(records)
        return found


class _Lumping(_Between):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        try:
            found: list[OrderRecord] = self._port.record(records)
        except RowRefused:
            return _given_up(records, "database_rejected: all of it")
        return found


class _Hasty:
    """Acks before the commit."""

    def __init__(self) -> None:
        self._redis: Any = None

    def __call__(self, server: str, port: Any) -> Any:
        if server == "redis":
            self._redis = port
        return _AckFirst(port, self._redis) if server == "postgresql" else port


class _AckFirst(_Between):
    def __init__(self, port: Any, redis: Any) -> None:
        super().__init__(port)
        self._redis = redis

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        self._redis.settle([Settlement(each.entry_id, "ack") for each in records])
        found: list[OrderRecord] = self._port.record(records)
        return found


def _at_store(kind: type[_Between]) -> Defect:
    return Defect(Parts(between=lambda server, port: kind(port) if server == "postgresql" else port))


DEFECTS = {
    "acks before the commit": Defect(Parts(between=_Hasty())),
    "sets no mark": Defect(Parts(orders=_Marker)),
    "does not ask the inbox": Defect(Parts(store=_Forgetful)),
    "renews what another holds": Defect(Parts(orders=_Thief)),
    "does not charge": Defect(Parts(orders=_Uncharging)),
    "takes no charge back": Defect(Parts(orders=_Unforgiving)),
    "buries without a dead row": Defect(Parts(store=_Rowless)),
    "overwrites rows": Defect(Parts(store=_Overwriting)),
    "hands back without its retries": Defect(Parts(intake=_LosesRetries)),
    "hands back what stays leased": Defect(Parts(orders=_Holding)),
    "forgets outcomes in an outage": Defect(Parts(worker=_LosesOutcomes)),
    "looks for nothing unseen": Defect(Parts(orders=_Unsweeping)),
    "settles below the horizon what others have settled": Defect(Parts(orders=_Sleepwalker)),
    "takes an unknown commit for a failure": _at_store(_Pessimist),
    "takes an unknown commit for a success": _at_store(_Optimist),
    "buries the whole batch": _at_store(_Lumping),
    "makes a lost group read from now on": Defect(stream=_FromNow),
    "forgets what was trimmed": Defect(Parts(orders=_Unnoticing)),
    "does not ack what is settled": Defect(Parts(orders=_Unacking)),
}
