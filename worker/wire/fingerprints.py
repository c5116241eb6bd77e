"""What tells orders of one id apart: a digest of what decides about each, every part in its one spelling."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from worker.wire.names import FINGERPRINTED

FINGERPRINT_VERSION = b"\x01"


def fingerprint_of(parts: Mapping[str, str | None]) -> bytes:
    """Return the fingerprint of an order that says these parts, by their fields' names, and no others."""
    return digest_of(spelled(map(parts.get, FINGERPRINTED)))


def spelled(parts: Iterable[str | None]) -> str:
    """Return the parts of an order, in the order of FINGERPRINTED, as one text.

    NUL never occurs in a part, so no two orders share a spelling; absent and empty differ.
    """
    return "\0".join(["-" if part is None else "=" + part for part in parts])


def digest_of(spelling: str) -> bytes:
    """Return the fingerprint of an order that is spelled like this."""
    return FINGERPRINT_VERSION + sha256(spelling.encode()).digest()
