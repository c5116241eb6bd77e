"""The order of a letter beside the stored one of the same id: which parts tell the two apart."""

from collections.abc import Mapping

from msgspec import Struct

from worker.domain.decimals import plain
from worker.domain.orders import OrderRecord
from worker.wire.fingerprints import fingerprint_of
from worker.wire.names import DECISIVE, FINGERPRINTED


class Part(Struct, frozen=True):
    """A part of a fingerprint as an entry and a row say it, in its one spelling; None where one is absent.

    `differs` is None where nobody can tell: the row has not kept what its order said there.
    """

    name: str
    said: str | None
    stored: str | None
    differs: bool | None


def compared(said: Mapping[str, str | None], row: OrderRecord) -> list[Part]:
    """Return each part of a fingerprint as an entry says it, beside what the row has kept of its order."""
    kept = {name: _kept(row, name) for name in FINGERPRINTED}
    # Where it is not, some part that the row lacks was there, but unusable, and only its digest was kept.
    is_whole = fingerprint_of(kept) == row.fingerprint
    parts = []
    for name in FINGERPRINTED:
        differs = None if kept[name] is None and not is_whole else kept[name] != said[name]
        parts.append(Part(name, said[name], kept[name], differs))
    return parts


def _kept(row: OrderRecord, name: str) -> str | None:
    value = getattr(row if name in DECISIVE else row.labels, name)
    return value if value is None or isinstance(value, str) else plain(value)
