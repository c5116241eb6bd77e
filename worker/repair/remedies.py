"""Does about findings what can be done: each is looked at once more in the very step that mends it."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from worker.domain.deliveries import LOOKED_FOR, Restoration
from worker.domain.evidence import Finding, Remedy, Repaired
from worker.domain.ports import Decoder, Monotonic, Renderer
from worker.repair.ports import Mending, Rows, Streams
from worker.repair.restorations import restoration_of, settlement_of

HEARD_OF_EVERY_S = 10.0


class Remedies:
    """Repairs what was found. Repeatable, and exact beside others that repair the same. Raises Outage."""

    def __init__(
        self,
        mending: Mending,
        streams: Streams,
        rows: Rows,
        renderer: Renderer,
        decoder: Decoder,
        *,
        republish: bool,
        clock: Monotonic,
    ) -> None:
        self._mending = mending
        self._streams = streams
        self._rows = rows
        self._renderer = renderer
        self._decoder = decoder
        self._republish = republish
        self._clock = clock
        self._heard_of_at = clock()
        self.done = Repaired()

    def keep_on(self) -> None:
        """Let others know now and then that this repair is still at work, however long the looking takes."""
        if self._clock() - self._heard_of_at > HEARD_OF_EVERY_S:
            self._heard_of_at = self._clock()
            self._mending.go_on()

    def apply(self, findings: Sequence[Finding]) -> list[bool]:
        """Do what can be done and return, in the same places, which of them are mended now."""
        self.keep_on()
        mended = self._readopt(findings) | self._restore(findings)
        self.done.looked_at += len(findings)
        self.done.left_alone += len(findings) - len(mended)
        return [place in mended for place in range(len(findings))]

    def _readopt(self, findings: Sequence[Finding]) -> set[int]:
        wanted = {
            place: (each.entry_id, each.mark)
            for place, each in enumerate(findings)
            if each.remedy is Remedy.READOPT and each.entry_id is not None
        }
        marked = [
            Restoration(entry_id, "mark", stands_since_ms=LOOKED_FOR, mark=mark)
            for entry_id, mark in wanted.values()
            if mark
        ]
        if marked:
            self._mending.restore(marked)
        made = set(self._mending.readopt([each for each, _ in wanted.values()])) if wanted else set()
        mended = {place for place, (entry_id, _) in wanted.items() if entry_id in made}
        self.done.made_pending += len(mended)
        return mended

    def _restore(self, findings: Sequence[Finding]) -> set[int]:
        restorations = dict(self._restorations(findings))
        if not restorations:
            return set()
        flags = self._mending.restore(list(restorations.values()))
        mended = {place for place, done in zip(restorations, flags, strict=True) if done}
        for place in mended:
            match restorations[place].action:
                case "bury":
                    self.done.buried += 1
                case "mark":
                    self.done.marked += 1
                case "publish":
                    self.done.published += 1
        return mended

    def _restorations(self, findings: Sequence[Finding]) -> Iterator[tuple[int, Restoration]]:
        wanted = {
            place: each
            for place, each in enumerate(findings)
            if each.remedy_where(republish=self._republish) not in {None, Remedy.MARK, Remedy.READOPT}
        }
        for place, finding in enumerate(findings):
            remedy = finding.remedy_where(republish=self._republish)
            if remedy is Remedy.MARK and finding.entry_id is not None:
                yield place, Restoration(finding.entry_id, "mark", mark=finding.mark)
        if not wanted:
            return
        rows = self._rows.rows([each.order_id for each in wanted.values() if each.order_id is not None])
        fields = self._streams.entries([row.entry_id for row in rows.values()]) if rows else {}
        for place, finding in wanted.items():
            row = rows.get(finding.order_id or "")
            # A replay may have taken the row over since: then it is no more what was judged.
            if row is None or row.entry_id != finding.entry_id:
                continue
            settlement = settlement_of(row, fields.get(row.entry_id, ()), self._renderer, self._decoder)
            if finding.looked_for:
                settlement = replace(settlement, stands_since_ms=LOOKED_FOR)
            yield place, restoration_of(settlement, again=finding.again)
