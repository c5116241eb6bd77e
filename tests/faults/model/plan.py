"""A history, decided before it begins: entries, faults, who has a turn. A seed stands for all of it."""

from random import Random
from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal[
    "filled", "rejected", "error", "duplicate", "conflict", "poison", "raises", "refused", "nameless",
    "undecodable", "everywhere",
]  # fmt: skip
# `everywhere` has one order id in all fleets.
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]

# Strike one call of one worker.
DYING = ("dies before", "dies after")
LOSING = ("never arrives", "reply lost", "arrives late")
STOPPING = ("stops before", "stops after")
EXECUTING = ("raises", "venue away")
# Strike everybody.
SERVERS = ("redis away", "postgresql away")
WIPING = ("redis wiped", "redis rolled back")
# Redis stays what it is; people or producers take something away from it.
MARKS_GONE = ("marks lost", "marks and group lost")
KNOWLEDGE = (
    *MARKS_GONE,
    "results trimmed",
    "results deleted",
    "group renamed",
    "entry id used again",
)
# After these only a repair finds a row that was committed and not settled, where its entry is gone.
UNGROUPING = ("group lost", "marks and group lost", "group renamed")
# After these what is in somebody's hands is pending for nobody.
LETTING_GO = (*UNGROUPING, *WIPING, "entry id used again")
LONGER_THAN_ANY_HISTORY_MS = 3_600_000
LOSSES = ("group lost", "entry trimmed", *KNOWLEDGE, *WIPING)
CLOCKS = ("clock ahead", "clock back")
LEAVING = ("drain", "hurried drain")
OPERATOR = ("replay", "audit")

OF_A_CALL = frozenset(DYING + LOSING + STOPPING + EXECUTING)
# What may cost an entry a delivery though no execution of it has failed.
DISRUPTIVE = frozenset((*DYING, *STOPPING, "arrives late", "raises", *LOSSES, *CLOCKS, *LEAVING))

# After which the work goes on where it was, without waiting for a lease.
OUTAGES = frozenset({"never arrives", "reply lost", "venue away", *SERVERS, *OPERATOR})

# How often results and marks of one time are lost.
FORGETTING = 0.06

CALLS = (
    "read",
    "read_ahead",
    "arrived",
    "claim",
    "own_pending",
    "trimmed",
    "renew",
    "charge",
    "fetch",
    "release",
    "settle",
    "record",
    "find",
    "execute",
    "remember",
    "result_pages",
    "begin_walk",
    "restore",
)


class Fault(Struct, frozen=True):
    """Strikes at a step, or at the first call after it that it can strike; `at` names that call."""

    step: int
    kind: str
    at: str | None = None
    for_s: float = 0.0
    which: int = 0

    def __str__(self) -> str:
        where = f" at {self.at}" if self.at else ""
        long = f" for {self.for_s:g} s" if self.for_s else ""
        return f"{self.kind}{where}{long} from step {self.step}"


class Plan(Struct, frozen=True):
    """One history. `preemptions`, where given, are the only pauses at which another task has its turn."""

    entries: tuple[tuple[float, Kind], ...]
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    workers: int = 2
    batch_size: int = 100
    max_deliveries: int = 3
    keep_s: int = 0
    switching: float = 0.0
    preemptions: frozenset[int] | None = None
    lease_s: float = 8.0
    fleets: int = 1
    one_results_stream: bool = False
    # Whether Redis counts what was added (from 7.0 on), so that nothing taken away can be told from all taken
    # away.
    counts_added: bool = True
    # What a person decides in the end where nobody can know.
    republishes: bool = False

    @property
    def marks_stay_ms(self) -> int:
        """How long marks stay of what can't come back.

        Nobody has anything in hand that is not pending for longer than that; they are dropped at once where
        nothing makes that of what is in hand.
        """
        return LONGER_THAN_ANY_HISTORY_MS if any(each.kind in LETTING_GO for each in self.faults) else 0


def random_plan(seed: int) -> Plan:
    """Return the plan that a seed stands for."""
    chance = Random(seed)  # noqa: S311  no secret
    fleets = chance.choice((1, 1, 1, 2))
    kinds: list[Kind] = [
        "filled",
        *chance.choices(
            KINDS,
            (8, 2, 1, 5, 4, 2, 1, 2, 2, 2, 4 * (fleets - 1)),
            k=chance.randint(0, 5 if fleets == 1 else 2),
        ),
    ]
    chance.shuffle(kinds)
    times = [chance.choice((0.0, 0.0, 0.0, 0.004, 1.0, 5.0, 12.0)) for _ in kinds]
    faults = [_fault(chance) for _ in range(chance.choice((1, 1, 2, 2, 3, 4, 6)))]
    if chance.random() < FORGETTING:
        faults += _forgetting(chance)
    set_back = [fault for fault in faults if fault.kind == "clock back"]
    if set_back:
        # A repair dates the marks it sets by the clock, and retention compares them with entry ids. Clocks
        # may be a minute apart where marks are made anew, and no more. And a stream that begins anew would
        # give ids for the second time.
        left_out = (*WIPING, "entry id used again")
        faults = [fault for fault in faults if fault.kind not in left_out and fault not in set_back[1:]]
    return Plan(
        entries=tuple(zip(sorted(times), kinds, strict=True)),
        faults=tuple(sorted(faults, key=lambda each: each.step)),
        seed=seed,
        workers=chance.choice((1, 2, 2, 2, 3) if fleets == 1 else (1, 1, 1, 2)),
        batch_size=chance.choice((1, 2, 100, 100)),
        max_deliveries=chance.choice((3, 3, 4)),
        keep_s=chance.choice((0, 0, 10)),
        switching=chance.choice((0.0, 0.05, 0.2, 0.5)),
        fleets=fleets,
        one_results_stream=chance.random() < 0.3,
        counts_added=chance.random() < 0.8,
        republishes=chance.random() < 0.5,
    )


def _forgetting(chance: Random) -> list[Fault]:
    """Return what it takes that nobody can know: results are taken away, then the marks of them."""
    first, which = chance.randint(0, 60), chance.randint(0, 7)
    return [
        Fault(first, chance.choice(("results trimmed", "results deleted")), which=which),
        Fault(first + chance.randint(0, 20), "marks and group lost", which=which),
    ]


def _fault(chance: Random) -> Fault:
    group = chance.choices(
        (DYING, LOSING, STOPPING, EXECUTING, SERVERS, LOSSES, CLOCKS, LEAVING, OPERATOR),
        (6, 6, 4, 1, 2, 6, 1, 2, 2),
    )[0]
    kind = chance.choice(group)
    at = (
        chance.choice(CALLS)
        if kind in OF_A_CALL and group is not EXECUTING and chance.random() < 0.7
        else None
    )
    for_s = {
        "arrives late": chance.choice((0.002, 0.05, 1.5, 3.6)),
        "stops before": chance.choice((0.05, 7.6, 10.5, 19.0)),
        "stops after": chance.choice((0.05, 7.6, 10.5, 19.0)),
        "redis away": chance.choice((0.5, 4.0, 18.0)),
        "postgresql away": chance.choice((0.5, 4.0, 18.0)),
        "clock ahead": chance.choice((2.0, 9.0, 36.0)),
        "clock back": chance.choice((2.0, 9.0, 36.0)),
    }.get(kind, 0.0)
    return Fault(
        chance.choice((0, chance.randint(0, 25), chance.randint(0, 90))),
        kind,
        at,
        for_s,
        chance.randint(0, 7),
    )
