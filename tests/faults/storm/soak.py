"""A steady load for long: what each replica holds on to, sampled, and the slope of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any

from local.directory import free_port
from tests.faults.forkserver import Forkserver
from tests.faults.storm.ends import Producer
from tests.faults.storm.replicas import Place
from tests.faults.storm.steps import Crumbs
from tests.harness import Deployment, eventually, numbered_orders

REPLICAS = 2
ORDERS_A_SECOND = 100
SAMPLES = 120
LOOK_EVERY_S = 0.02
HOUR_S = 3600


@dataclass(frozen=True)
class Sample:
    """What one process holds at one time."""

    at_s: float
    rss_kib: int
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Held:
    """What one replica held from the middle of the soak on, when all of its code had run."""

    samples: Sequence[Sample]

    def slope_an_hour(self, name: str) -> float:
        """Return by how much a figure grows in an hour, by least squares."""
        times = [sample.at_s for sample in self.samples]
        line = linear_regression(times, [getattr(sample, name) for sample in self.samples])
        return float(line.slope) * HOUR_S

    def most(self, name: str) -> int:
        """Return the highest of a figure."""
        return max(int(getattr(sample, name)) for sample in self.samples)

    def least(self, name: str) -> int:
        """Return the lowest of a figure."""
        return min(int(getattr(sample, name)) for sample in self.samples)


def sample(pid: int, at_s: float) -> Sample:
    """Return what a process holds now."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines())
    status = {name: value.split() for name, _, value in lines}
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(at_s, int(status["VmRSS"][0]), int(status["Threads"][0]), descriptors)


def soak(deployment: Deployment, folder: Path, seconds: float) -> list[Held]:
    """Keep replicas busy for so long, until all orders are settled; return what each of them held."""
    count = int(seconds * ORDERS_A_SECOND)
    producer = Producer(deployment, numbered_orders(count))
    crumbs = Crumbs.made(folder / "crumbs", REPLICAS)

    def environment() -> dict[str, str]:
        # Orders, results and marks come and go, as they do in the long run.
        return deployment.process_environment(
            health_port=free_port(), lease_ms=5000, orders_keep_s=30, repair_window_s=60
        )

    with Forkserver() as forks:
        places = [
            Place(number, forks, environment, crumbs, folder / f"replica-{number}.log")
            for number in range(REPLICAS)
        ]
        samples = _samples(places, producer, seconds)
        eventually(deployment.all_settled, within=60)
        for place in places:
            place.ask_to_leave()
        for place in places:
            place.await_end()
            assert place.ends == {"drained": 1}
    deployment.accepted += producer.accepted
    return [Held([each for each in taken if each.at_s > seconds / 2]) for taken in samples]


def _samples(places: list[Place], producer: Producer, seconds: float) -> list[list[Sample]]:
    taken: list[list[Sample]] = [[] for _ in places]
    began, sampled = time.monotonic(), 0
    while not producer.done:
        passed = time.monotonic() - began
        for place in places:
            place.look(time.monotonic())
        producer.submit(int(passed * ORDERS_A_SECOND))
        if passed > sampled * seconds / SAMPLES:
            sampled += 1
            for place, samples in zip(places, taken, strict=True):
                if place.pid is not None:
                    samples.append(sample(place.pid, passed))
        time.sleep(LOOK_EVERY_S)
    return taken


def figures(seconds: float, held: Sequence[Held], settled: int) -> dict[str, Any]:
    """Return the figures as a row."""
    return {
        "faults": 0,
        "orders": settled,
        "duration_s": round(seconds),
        "orders_per_s": ORDERS_A_SECOND,
        "rss_mib": [round(each.most("rss_kib") / 1024, 1) for each in held],
        "rss_mib_an_hour": [round(each.slope_an_hour("rss_kib") / 1024, 2) for each in held],
        "threads": [(each.least("threads"), each.most("threads")) for each in held],
        "descriptors": [(each.least("descriptors"), each.most("descriptors")) for each in held],
        "descriptors_an_hour": [round(each.slope_an_hour("descriptors"), 2) for each in held],
    }
