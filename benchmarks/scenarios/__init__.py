"""What can be measured, by name: the straight drain of every design, and what else happens to a worker."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.arena import Arena
from benchmarks.contest import Standing
from benchmarks.scenarios import amounts, leaving, limits, mixes, standbys, straight, waits, watching
from benchmarks.scenarios.sizes import Sizes, Tell

DESIGNS = "designs"
CURVE = "curve"


@dataclass(frozen=True)
class Scenario:
    """One table of the report."""

    name: str
    title: str
    run: Callable[[Arena, Sizes, Tell], list[Standing]]


SCENARIOS = {
    each.name: each
    for each in (
        Scenario(DESIGNS, "all designs, orders that wait are worked off", straight.designs),
        Scenario(CURVE, "batch size, worker and reference", straight.curve),
        Scenario("limit", "all designs beside the limit by hand", limits.limit),
        Scenario("guarantees", "what each guarantee costs: the worker without it", limits.guarantees),
        Scenario("replicas", "1, 2, 4, 8 processes", straight.replicas),
        Scenario(
            "latency",
            "from entry to result at 50 to 5,000 orders a second, and at half of the most",
            waits.latency,
        ),
        Scenario("duplicates", "5 % of the orders come twice, soon or at any time", mixes.duplicates),
        Scenario("undecodable", "5 % of the entries are no orders", mixes.undecodable),
        Scenario("backlog", "a backlog of 1,000,000 (--orders N)", amounts.backlog),
        Scenario("full-table", "10,000,000 rows in orders already (--orders N)", amounts.full_table),
        Scenario("leaving", "a day of 5,000,000 rows goes while 2,000 orders a second come", leaving.leaving),
        Scenario("restart", "50,000 pending, left by a dead replica (--orders N)", amounts.abandoned),
        Scenario("metrics", "what measuring and being asked for it costs", watching.metrics),
        Scenario("traces", "what following one order in a hundred, and all, costs", watching.traces),
        Scenario("network", "servers a round trip of 1 ms away", waits.network),
        Scenario("standby", "PostgreSQL waits for a standby a round trip of 1 ms away", standbys.waited_for),
    )
}
