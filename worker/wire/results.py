"""From results back to rows: whom a result names, and whether it says what the row says."""

from collections.abc import Sequence
from hashlib import blake2b

from msgspec.structs import replace

from worker.domain.deliveries import is_entry_id
from worker.domain.evidence import Buried
from worker.domain.orders import DeadReason, OrderRecord
from worker.domain.trace_context import TRACEPARENT
from worker.wire.letters import shown
from worker.wire.rendering import result_fields

DIGEST_BYTES = 16
_CONFLICT = DeadReason.CONFLICT.encode()


class Spelling:
    """What the fields on the streams say, to whoever compares them in the name of a source."""

    def __init__(self, source: str) -> None:
        self._source = source

    def result_of(self, fields: Sequence[bytes]) -> tuple[str, bytes, str]:
        """Return the order that a result names, the digest of all it says, and the entry that it names.

        What it does not name is empty.
        """
        said = dict(reversed(_pairs(fields)))
        order_id, entry_id = (shown(said.get(name, b"")) for name in (b"order_id", b"entry_id"))
        return order_id, _digest(fields), entry_id

    def digest_of(self, record: OrderRecord) -> bytes:
        """Return the digest of the result that a row would have."""
        return _digest([part.encode() for part in result_fields(record)])

    def named(self, fields: Sequence[bytes]) -> tuple[str, str] | None:
        """Return the entry and the order that a result names; None where it names no entry."""
        said = dict(reversed(_pairs(fields)))
        entry_id = shown(said.get(b"entry_id", b""))
        return (entry_id, shown(said.get(b"order_id", b""))) if is_entry_id(entry_id) else None

    def buried(self, fields: Sequence[bytes]) -> Buried | None:
        """Return what a dead letter says of the entry it buries.

        It is None where the letter names no entry, or is of another source.
        """
        said = dict(reversed(_pairs(fields)))
        entry_id = shown(said.get(b"entry_id", b""))
        if not is_entry_id(entry_id) or self.other_source(fields) is not None:
            return None
        mark = shown(said.get(b"mark", b""))
        mark = mark if mark.startswith(f"{entry_id}:") else entry_id
        return Buried(entry_id, mark, said.get(b"reason") == _CONFLICT, b"source" in said)

    def other_source(self, fields: Sequence[bytes]) -> str | None:
        """Return the source of a letter that is not ours; None where it is, or says none.

        The version before said none: so what that called a renamed source (`Decoder.called_before`) is never
        said in a letter.
        """
        source = dict(reversed(_pairs(fields))).get(b"source")
        return None if source in {None, self._source.encode()} else shown(source)

    def differences(self, fields: Sequence[bytes], record: OrderRecord) -> list[str]:
        """Return the names of the fields in which a result differs from that of a row.

        Where it differs, but in no field, that is `order of fields`.
        """
        said = {shown(name): shown(value) for name, value in _pairs(fields)}
        if TRACEPARENT not in said:
            # A replica of the version before has answered from the row: it knows no traces.
            record = replace(record, traceparent=None)
        expected = dict(_text_pairs(result_fields(record)))
        names = [name for name in {**expected, **said} if said.get(name) != expected.get(name)]
        if names or list(fields) == [part.encode() for part in result_fields(record)]:
            return names
        return ["order of fields"]

    def timestamp(self, fields: Sequence[bytes]) -> str:
        """Return when a result says that its order was executed."""
        return shown(dict(_pairs(fields)).get(b"timestamp", b""))


def _pairs(fields: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(fields[::2], fields[1::2], strict=True))


def _text_pairs(fields: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(fields[::2], fields[1::2], strict=True))


def _digest(fields: Sequence[bytes]) -> bytes:
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in fields:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()
