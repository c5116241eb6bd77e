"""A fleet of 0.1.0 with orders in every state, and what befalls it while it is upgraded by the page."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.acceptance.runbook_scene import SHORT, Scene
from tests.faults.flow import Flow
from tests.fleets import group_is_through, small_order
from tests.harness import eventually, numbered_orders
from tests.processes import ROOT, WorkerProcess

# As an engine or a service manager has it: what dies is started again, what was asked to leave is not.
SUPERVISED = """#!/bin/bash
[ "$1" = run ] || exec {worker} "$@"
trap 'leaving=1; kill -TERM "$child"' TERM
while [ -z "$leaving" ]; do
  {worker} "$@" & child=$!
  wait "$child" || [ -z "$leaving" ] || wait "$child"
done
"""
OLD, NEW = "worker-0.1.0", "worker-0.2.0"
# Of each state so many.
SETTLED, STUCK = 200, 40
LEFT = ("committed-by-0.1.0", "read-by-0.1.0", "committed-by-0.2.0")
# Ten orders at a time: all of them are audited in the end.
PAUSE_S = 0.2
# So long that this replica takes over nothing of others while the page is followed.
LEAVES_OTHERS_ALONE = {"lease_ms": 600_000, "repair_window_s": 0}


class Upgrade:
    """Both versions, installed, and what happens between two commands of the page."""

    def __init__(self, scene: Scene, tree: Path, old: Path, new: Path) -> None:
        self.scene = scene
        self.deployment = scene.deployment
        self.folder = scene.folder
        self.flow = Flow(self.deployment, every_s=PAUSE_S)
        self._tree = tree
        self._old = old
        self._programs = {OLD: old, NEW: new}
        scene.settings = {**SHORT, "max_deliveries": 3, "executor": "killing:Killing"}
        self.events: dict[str, Callable[[], object]] = {
            "0.1.0 has been at work, and not all went well": self._at_work,
            "orders keep coming": self.flow.start,
            "no more orders come, and all is settled": self._come_to_rest,
            "orders keep coming again, and a replica of 0.2.0 is killed with orders in hand": self._go_on,
            "all is settled": self._settle,
        }

    def put_on_path(self) -> None:
        """Give whoever follows the page both programs, under the names that it has for them."""
        for name, worker in self._programs.items():
            path = self.folder / "bin" / name
            path.write_text(SUPERVISED.format(worker=worker), encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def _at_work(self) -> None:
        done = self._by_old("migrate")
        assert done == "schema: current\n"
        self._settled()
        self._buried()
        self._stuck()
        for number in (1, 2):
            replica = self._replica(f"old-{number}", **LEAVES_OTHERS_ALONE)
            eventually(partial(getattr, replica, "has_started"), within=40)
            (self.folder / f"old-{number}.pid").write_text(str(replica.pid), encoding="ascii")

    def _settled(self) -> None:
        orders = [{**each, "order_id": f"settled-{n}"} for n, each in enumerate(numbered_orders(SETTLED))]
        self._by_old("submit", "-", given="".join(f"{json.dumps(each)}\n" for each in orders))
        self.deployment.accepted += [each for each, _ in self.deployment.entries(self.deployment.orders)]

    def _buried(self) -> None:
        """Have letters of what is no order, of a conflict and of an order that kills; one is closed."""
        for _ in range(2):
            self.deployment.add_raw("payload", "{no order")
        self.deployment.submit([small_order("settled-0", "77777")])
        replica = self._replica("at-work")
        eventually(self.deployment.all_settled, within=60)
        assert replica.drain() == 0
        (closed, *_) = [each for each, _ in self.deployment.entries(self.deployment.dead_letters)]
        self._by_old("dead", "discard", closed, "--yes")
        self.deployment.submit([{**small_order("kills-in-0.1.0"), "client_id": "poison"}])
        while not self.deployment.all_settled():
            self._one_life()

    def _stuck(self) -> None:
        """Leave an order that has killed twice, some that are committed and not acked, some only read."""
        self.deployment.submit([{**small_order("kills-in-both"), "client_id": "poison"}])
        self._one_life()
        self._one_life()
        self._killed("after COMMIT", "committed-by-0.1.0", self._tree)
        self._killed("after read", "read-by-0.1.0", self._tree)

    def _killed(self, point: str, name: str, tree: Path) -> None:
        """Have a replica of the version in a tree die with orders of a name in hand."""
        self.deployment.submit([small_order(f"{name}-{n}") for n in range(STUCK)])
        command = (sys.executable, "-m", "tests.faults.victim", point, "kill")
        dead = WorkerProcess(
            self.deployment, self.folder / f"{name}.log", command, tree,
            **{**self.scene.settings, **LEAVES_OTHERS_ALONE, "executor": "paper"},
        )  # fmt: skip
        self.scene.opened.callback(dead.end)
        dead.wait(within=60)

    def _replica(self, name: str, **overrides: object) -> WorkerProcess:
        made = WorkerProcess(
            self.deployment, self.folder / f"{name}.log", (str(self._old), "run"), self.folder,
            **{**self.scene.settings, **overrides},
        )  # fmt: skip
        self.scene.opened.callback(made.end)
        return made

    def _one_life(self) -> None:
        replica = self._replica("dying")
        eventually(lambda: not replica.is_running or self.deployment.all_settled(), within=60)
        if replica.is_running:
            assert replica.drain() == 0

    def _by_old(self, *command: str, given: str = "") -> str:
        done = subprocess.run(
            [str(self._old), *command], input=given, capture_output=True, text=True, check=True, timeout=60,
            env=self.deployment.process_environment(**self.scene.settings), cwd=self.folder,
        )  # fmt: skip
        return done.stdout

    def _come_to_rest(self) -> None:
        self.flow.finish()
        self._settle()

    def _settle(self) -> None:
        eventually(lambda: group_is_through(self.deployment), within=120)

    def _go_on(self) -> None:
        self.flow = Flow(self.deployment, self.flow, every_s=PAUSE_S)
        self.flow.start()
        self._killed("after COMMIT", "committed-by-0.2.0", ROOT)

    @property
    def answered(self) -> set[str]:
        """The order ids of all that has to have a result in the end."""
        settled = {f"settled-{number}" for number in range(SETTLED)}
        stuck = {f"{name}-{number}" for name in LEFT for number in range(STUCK)}
        return self.flow.sent | settled | stuck
