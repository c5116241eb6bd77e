"""Cases against each other: every round takes each once, in an order that differs from round to round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.errors import NoFigure
from benchmarks.figures import Spread, balanced, percentile, ratio
from benchmarks.measure import Measured

MICRO = 1e6
SHARES = (0.5, 0.99, 0.999)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure, given the number of the round, and the case it is compared with."""

    name: str
    run: Callable[[int], Measured]
    against: str = ""


@dataclass
class Standing:
    """What the rounds of one case have brought, by their numbers."""

    case: Case
    by_round: dict[int, Measured] = field(default_factory=dict)

    @property
    def rates(self) -> dict[int, float]:
        """Entries a second in each round."""
        return {turn: measured.rate for turn, measured in self.by_round.items()}

    @property
    def rate(self) -> Spread:
        """Entries a second."""
        return Spread.of(list(self.rates.values()))

    @property
    def cpu_us(self) -> tuple[float, float, float]:
        """The medians of the CPU microseconds an entry cost in the workers, in Redis, in PostgreSQL."""
        shares = [
            (used.worker_cpu_s / entries, used.redis_cpu_s / entries, used.postgres_cpu_s / entries)
            for used, entries in ((each.used, each.entries) for each in self.by_round.values())
        ]
        worker, redis, postgres = (Spread.of(column).median * MICRO for column in zip(*shares, strict=True))
        return worker, redis, postgres

    @property
    def peak_mb(self) -> float:
        """The most memory that one of its processes has held."""
        return max(each.used.peak_mb for each in self.by_round.values())

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """The p50, p99 and p99.9 of all rounds together; nothing where none was measured."""
        ordered = sorted(wait for each in self.by_round.values() for wait in each.latencies_ms)
        return tuple(percentile(ordered, share) for share in SHARES) if ordered else ()

    @property
    def remarks(self) -> dict[str, float]:
        """The medians of whatever else was noted."""
        names = {name: None for each in self.by_round.values() for name in each.remarks}
        return {
            name: Spread.of([each.remarks[name] for each in self.by_round.values()]).median for name in names
        }


def hold(cases: Sequence[Case], rounds: int, tell: Callable[[str], None]) -> list[Standing]:
    """Measure every case in every round and return their standings, in the order given. Raises NoFigure."""
    standings = {case.name: Standing(case) for case in cases}
    for turn in range(rounds):
        for case in balanced(cases, turn):
            try:
                measured = case.run(turn)
            except NoFigure as failure:
                raise NoFigure(f"{case.name}, round {turn + 1}: {failure}") from failure
            standings[case.name].by_round[turn] = measured
            tell(f"round {turn + 1} of {rounds}  {case.name}: {measured.rate:,.0f} a second")
    return list(standings.values())


def compared(standing: Standing, standings: Sequence[Standing]) -> Spread | None:
    """Return the ratio to the case it is compared with; None where that was not measured."""
    for base in standings:
        if base.case.name == standing.case.against:
            return ratio(standing.rates, base.rates)
    return None
