"""2,000 generated entries through Redis, a replica and PostgreSQL: each ends exactly once, as foretold."""

import http.client
import json
from collections import Counter
from hashlib import sha256
from typing import Any

import redis

from tests.builders import decoder, delivery
from tests.faults.fuzz.entries import Entry, entry
from tests.faults.fuzz.reading import read_result, said_by
from tests.faults.fuzz.reference import expected
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from tests.harness import Deployment, assert_invariants, eventually
from tests.inprocess import running
from worker.bootstrap.audit import Wish, audit_of
from worker.bootstrap.replica import Replica
from worker.domain.orders import Undecodable

ENTRIES = 2_000
# Fewer than entries, so that a third of them repeats an order or contradicts one.
IDS = 1_500
ROW, DUPLICATE = "row", "duplicate"


def sent(deployment: Deployment) -> dict[str, Entry]:
    """Add generated entries, and return what each was."""
    made = {}
    for number in numbers(ENTRIES):
        fields = entry(drawn("pipeline", number), number, IDS)
        if not _names_can_be_told_apart(fields):
            continue
        made[deployment.add_raw(*fields)] = fields
    return made


def _names_can_be_told_apart(fields: Entry) -> bool:
    """Whether names that are no text stay different names as text, which the invariants are judged by."""
    said = tuple(
        part.decode("utf-8", "replace").encode() if at % 2 == 0 else part for at, part in enumerate(fields)
    )
    return expected(said, "1-1") == expected(fields, "1-1")


def foretold(deployment: Deployment, made: dict[str, Entry]) -> dict[str, str]:
    """How each entry ends, by entry id: the first order of an id gets the row."""
    inbox: dict[str, bytes] = {}
    ends = {}
    for entry_id, fields in made.items():
        order = decoder(source=deployment.fleet.source).decode(delivery(entry_id, fields))
        reading = expected(fields, entry_id, deployment.orders)
        if reading.dead is not None or isinstance(order, Undecodable):
            ends[entry_id] = str(reading.dead)
        elif reading.order_id not in inbox:
            inbox[reading.order_id] = order.fingerprint
            ends[entry_id] = ROW
        else:
            same = inbox[reading.order_id] == order.fingerprint
            ends[entry_id] = DUPLICATE if same else "conflict"
    return ends


def raw_entries(deployment: Deployment, stream: str) -> list[Entry]:
    """Every entry of a stream, byte for byte."""
    with redis.Redis.from_url(deployment.servers.redis_url) as client:
        client.response_callbacks.clear()
        found: Any = client.execute_command("XRANGE", stream, "-", "+")
    return [tuple(fields) for _, fields in found]


def kept(letter: Entry) -> tuple[bytes, ...]:
    """What a dead letter keeps of an entry: its fields, else its size, hash and head."""
    pairs = list(zip(letter[::2], letter[1::2], strict=True))
    said = dict(pairs)
    if b"sha256" in said:
        return said[b"size"], said[b"sha256"], said[b"head"]
    return tuple(part for name, value in pairs if name.startswith(b"orig:") for part in (name[5:], value))


def to_keep(fields: Entry, reason: str) -> tuple[bytes, ...]:
    """What a dead letter of these fields has to keep."""
    if reason != "too_large":
        return fields
    content = b"".join(fields)
    return str(len(content)).encode(), sha256(content).hexdigest().encode(), content[:1024]


def pages(made: Replica) -> dict[str, tuple[int, bytes]]:
    """What the pages show of all this."""
    connection = http.client.HTTPConnection("127.0.0.1", made.server.port, timeout=10)
    shown = {}
    for path in ("/health", "/ready", "/status", "/metrics", "/orders?limit=100"):
        connection.request("GET", path)
        answer = connection.getresponse()
        shown[path] = answer.status, answer.read()
    connection.close()
    return shown


def test_every_generated_entry_ends_once_and_as_foretold_and_an_audit_finds_nothing(
    deployment: Deployment,
) -> None:
    with running(deployment, paper_success_rate=1, batch_size=100) as replica:
        made = sent(deployment)
        eventually(deployment.all_settled, within=100)
        eventually(lambda: pages(replica)["/ready"][0] == 200)
        shown = pages(replica)
    with audit_of(deployment.settings(), Wish(0, repair=False, republish=False), lambda *_: None) as opened:
        findings = list(opened.audit.findings())

    ends = foretold(deployment, made)
    letters = {
        dict(zip(f[::2], f[1::2], strict=True))[b"entry_id"].decode(): f
        for f in raw_entries(deployment, deployment.dead_letters)
    }
    rows = {row.entry_id: row for row in deployment.rows().values()}
    results = {
        str(read_result(fields)["entry_id"]): fields for fields in raw_entries(deployment, deployment.results)
    }
    for number, (entry_id, fields) in zip(numbers(ENTRIES), made.items(), strict=False):
        reason = (
            dict(zip(letters[entry_id][::2], letters[entry_id][1::2], strict=True))[b"reason"].decode()
            if entry_id in letters
            else None
        )
        ended = [ROW] * (entry_id in rows) + [reason or ""] * (entry_id in letters)
        with case(number, fields):
            assert (ended or [DUPLICATE]) == [ends[entry_id]]
            assert (entry_id in results) == (entry_id in rows)
            if reason is not None:
                assert kept(letters[entry_id]) == to_keep(fields, reason)
            if entry_id in rows:
                assert read_result(results[entry_id]) == said_by(rows[entry_id])

    assert findings == []
    assert {status for status, _ in shown.values()} == {200}
    assert {each["order_id"] for each in json.loads(shown["/orders?limit=100"][1])["orders"]} <= {
        r.order_id for r in rows.values()
    }
    assert replica.worker.tally.received == len(made)
    assert_invariants(deployment, replica.worker.tally)
    record("fuzz", "pipeline", entries=len(made), seed=SEED, ends=Counter(ends.values()))
