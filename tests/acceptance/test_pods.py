"""The worker under the probes and the grace of deploy/kubernetes: what a kubelet would see and do."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.directory import free_port
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.manifests import BASE, generated, pods, written
from tests.processes import WorkerProcess, workers
from worker.settings import Settings, variable

(POD,) = [pod for kind, pod in pods(written(BASE)) if kind == "Deployment"]
(WORKER,) = POD["containers"]
LIVENESS, READINESS = WORKER["livenessProbe"], WORKER["readinessProbe"]
GIVEN = generated("orders-worker")
# The test's own processes listen on the loopback interface alone.
SETTINGS = {
    field: GIVEN[variable(field)]
    for field in Settings.__struct_fields__
    if variable(field) in GIVEN and field != "health_host"
}


def passes(replica: WorkerProcess, probe: dict[str, Any]) -> bool:
    """Ask as a kubelet does; an answer that comes too late is none."""
    asked = time.monotonic()
    status, _ = replica.get(probe["httpGet"]["path"])
    return status == 200 and time.monotonic() - asked < probe["timeoutSeconds"]


def test_replica_passes_its_probes_while_it_works_and_leaves_within_the_grace_of_its_pod(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(100))
    grace_s = POD["terminationGracePeriodSeconds"]
    with workers(deployment, tmp_path, 1, paper_latency_ms=200, **SETTINGS) as (leaving,):
        eventually(lambda: passes(leaving, READINESS) and len(deployment.rows()) >= 3)
        assert passes(leaving, LIVENESS)
        leaving.signal(signal.SIGTERM)
        eventually(lambda: not passes(leaving, READINESS))
        assert leaving.wait(within=grace_s) == 0

    with workers(deployment, tmp_path, 1, **SETTINGS):
        eventually(deployment.all_settled)
    assert_invariants(deployment, leaving.tally)


@pytest.mark.past_the_pooler
def test_replica_that_waits_for_its_database_is_alive_and_takes_part_in_no_rollout(
    deployment: Deployment, tmp_path: Path
) -> None:
    away = replace(deployment.servers, database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/orders")
    with deployment.elsewhere(away) as without_database:
        waiting = WorkerProcess(without_database, tmp_path / "waiting.log", **SETTINGS)
        try:
            eventually(lambda: "waiting for a server" in waiting.said)
            eventually(lambda: passes(waiting, LIVENESS))
            assert not passes(waiting, READINESS)
            assert waiting.drain() == 0
        finally:
            waiting.end()
