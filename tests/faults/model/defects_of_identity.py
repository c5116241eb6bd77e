"""Defects in whose an entry, a row and a mark is, and in what a missing mark means."""

from msgspec.structs import replace

from tests.fakes import FakeStore, FakeStream
from tests.faults.model.defect import Defect
from tests.faults.model.replica import Parts
from worker.consumer import recording
from worker.consumer.recording import Content
from worker.domain.deliveries import LOOKED_FOR, Dead, Delivery, Settlement
from worker.domain.evidence import Fate
from worker.domain.fleets import Stranger
from worker.domain.orders import OrderRecord
from worker.repair import doubts


class _MarksOfAGroup(FakeStream):
    """Has marks by group, as the first version did."""

    @property
    def settled(self) -> set[str]:
        return self.by_group.setdefault(self.group_name, set())

    @settled.setter
    def settled(self, marks: set[str]) -> None:
        self.by_group: dict[str, set[str]] = {self.group_name: marks}


class _Sourceless(FakeStore):
    """Has rows by entry id alone, as the first version did."""

    @property
    def ours(self) -> list[OrderRecord]:
        return list(self.table.rows.values())

    def _stranger(self, row: OrderRecord) -> Stranger | None:
        del row
        return None


_conflict, _decided = recording._conflict, doubts._decided  # noqa: SLF001  they are what is broken


def _by_content_alone(delivery: Delivery, content: Content, record: OrderRecord) -> Dead | None:
    if record.owned_by(delivery.entry_id):
        content = replace(content, order_id=record.order_id)
    return _conflict(delivery, content, record)


def _never_published(doubt: doubts.Doubt, fate: Fate) -> Settlement | None:
    decided = _decided(doubt, fate)
    if decided is not None and decided.action == "unknown":
        return replace(doubt.settlement, stands_since_ms=LOOKED_FOR)
    return decided


DEFECTS_OF_IDENTITY = {
    "keeps marks by group": Defect(stream=_MarksOfAGroup),
    "writes rows without a source": Defect(Parts(store=_Sourceless)),
    "does not compare the order id of an owned row": Defect(
        instead=((recording, "_conflict", _by_content_alone),)
    ),
    "takes what nobody can know for never published": Defect(
        instead=((doubts, "_decided", _never_published),)
    ),
}
