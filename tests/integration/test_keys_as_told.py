"""docs/retention.md names every key and every table that work of all kinds leaves, and those that end do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from tests.commands import command
from tests.harness import Deployment, eventually, names_of, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.integration.test_bridge import bridges, legacy
from worker.stream import RedisNames

PAGE = Path(__file__).parent.parent.parent / "docs" / "retention.md"
PLACES = {"orders": "orders", "results": "results", "dead": "dead_letters", "group": "group"}
ENDS = ("within", "after the last", "after it added", "after a replica last")


def told(section: str) -> Iterator[tuple[list[str], str]]:
    """Yield the names in each line of a section's table, and when what they name goes."""
    body = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for line in body.splitlines():
        if line.startswith("| `"):
            first, _, _, goes = (cell.strip() for cell in line.strip("|").split(" | "))
            yield re.findall(r"`([^`]+)`", first), goes


def pattern(name: str, deployment: Deployment) -> re.Pattern[str]:
    """Return what the keys are like that the page gives a name."""
    called = {each: getattr(deployment, place) for each, place in PLACES.items()}
    called["source"] = deployment.fleet.source
    parts = re.split(r"<(\w+)>", re.sub(r"…$", "", name))
    whole = "".join(re.escape(called[each] if i % 2 else each) for i, each in enumerate(parts))
    return re.compile(whole + (r".+" if name.endswith("…") else ""))


def work(deployment: Deployment) -> None:
    """Do all that leaves a key: orders of each outcome, letters, repairs, a bridge, lost rows, questions."""
    client, names = deployment.redis, names_of(deployment, "any")
    with running(deployment) as made:
        deployment.submit(numbered_orders(40))
        deployment.submit([{"payload": "{"}, {**numbered_orders(1)[0], "order_id": "odd", "quantity": "0"}])
        eventually(deployment.all_settled)
        eventually(lambda: client.exists(names.figures("database")))
        made.worker.stream.set_aside([deployment.accepted[0]])
    letter_id, _ = deployment.entries(deployment.dead_letters)[0]
    command(deployment, "dead", "discard", letter_id, "--yes")
    client.xdel(deployment.results, deployment.entries(deployment.results)[0][0])
    command(deployment, "audit", "--repair", "--republish")
    trim_while_pending(deployment)
    with running(deployment):
        eventually(lambda: deployment.pending() == 0 and client.exists(names.lost_rows))
    with bridges(deployment):
        order = json.dumps(numbered_orders(50)[49])
        eventually(
            lambda: client.publish(legacy(deployment), order) and client.keys(f"{names.orders}:bridge:*")
        )


def trim_while_pending(deployment: Deployment) -> None:
    """Leave an entry that was trimmed while it was pending, a gap before what was read, and a lost row."""
    deployment.submit(numbered_orders(42)[41:])
    take_and_vanish(deployment, 1)
    deployment.submit(numbered_orders(44)[42:])
    deployment.redis.xtrim(deployment.orders, maxlen=1, approximate=False)
    with deployment.database.transaction() as connection:
        connection.execute(text("DELETE FROM trades WHERE order_id = 'order-39'"))
        connection.execute(text("DELETE FROM orders WHERE order_id = 'order-39'"))


def test_every_key_that_work_leaves_is_told_and_those_end_that_are_told_to(deployment: Deployment) -> None:
    work(deployment)
    lines = [
        ([pattern(each, deployment) for each in names], any(words in goes for words in ENDS))
        for names, goes in told("Redis")
    ]

    untold, endless, seen = [], [], 0
    for key in deployment.redis.scan_iter(f"{deployment.prefix}*"):
        found = [ends for patterns, ends in lines if any(each.fullmatch(key.decode()) for each in patterns)]
        untold += [key] * (len(found) != 1)
        # One that has ended since it was found has ended.
        endless += [key] * (found == [True] and deployment.redis.pttl(key) == -1)
        seen += 1

    assert (untold, endless) == ([], [])
    assert seen >= 18


def test_every_name_of_a_key_is_told(deployment: Deployment) -> None:
    names = names_of(deployment, "any")
    named = [getattr(names, each) for each, kind in vars(RedisNames).items() if isinstance(kind, property)]
    named += [names.figures("redis"), names.counting("redis"), names.presence("any"), f"{names.looks}:1"]

    patterns = [pattern(each, deployment) for line, _ in told("Redis") for each in line]

    assert len(named) > 20
    assert [each for each in named if not any(it.fullmatch(each) for it in patterns)] == []


def test_every_table_is_told(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        tables = connection.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        ).all()

    assert sorted(each for line, _ in told("PostgreSQL") for each in line) == sorted(tables)
