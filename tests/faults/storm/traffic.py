"""What is submitted: sound orders, and among them what a producer should not send, drawn from a seed."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.harness import numbered_orders

Kind: TypeAlias = Literal["sound", "duplicate", "conflict", "undecodable", "poison"]

SHARES: dict[Kind, float] = {"duplicate": 0.05, "conflict": 0.01, "undecodable": 0.01, "poison": 0.001}
# A retry follows what it repeats at this distance at the most.
NEAR = 2000


@dataclass(frozen=True)
class Traffic:
    """Entries in the order of their submission, and what must have become of them in the end."""

    entries: list[dict[str, str]] = field(repr=False)
    kinds: Counter[Kind]
    # How many results are due once so many entries are settled.
    due: list[int] = field(repr=False)
    executed: frozenset[str] = field(repr=False)
    poisonous: frozenset[str] = field(repr=False)


def traffic(count: int, seed: int, prefix: str = "") -> Traffic:
    """Return as many entries, their order ids with a prefix.

    No order is repeated more than once, so that each conflict costs one dead letter.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    kinds: list[Kind] = [kind for kind, share in SHARES.items() for _ in range(round(count * share))]
    kinds += ["sound"] * (count - len(kinds))
    chance.shuffle(kinds)
    made = [{**order, "order_id": prefix + order["order_id"]} for order in numbered_orders(count)]
    entries: list[dict[str, str]] = []
    # Whatever has not been repeated yet; a repetition needs something to repeat.
    single: list[dict[str, str]] = []
    told: Counter[Kind] = Counter()
    due = [0]
    executed, poisonous = set(), set()
    for number, drawn in enumerate(kinds):
        order, kind = made[number], drawn
        if kind in {"duplicate", "conflict"} and not single:
            kind = "sound"
        match kind:
            case "sound":
                single.append(order)
                del single[:-NEAR]
                executed.add(order["order_id"])
            case "duplicate":
                order = {**single.pop(chance.randrange(len(single))), "timestamp": "1700000000"}
            case "conflict":
                order = {**single.pop(chance.randrange(len(single))), "quantity": f"0.{number + 1}7"}
            case "undecodable":
                order = {"payload": f"{{broken {number}"}
            case "poison":
                order["client_id"] = f"poison-{number}"
                poisonous.add(order["order_id"])
        told[kind] += 1
        entries.append(order)
        due.append(len(executed))
    return Traffic(entries, told, due, frozenset(executed), frozenset(poisonous))
