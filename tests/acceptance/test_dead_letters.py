"""The commands for dead letters as a person runs them, half asleep, interrupted, twice."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.commands import environment_of
from tests.faults.executors import NOTES
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import COMMAND, ROOT, WorkerProcess, workers
from worker.wire.names import derived_order_id

EXECUTORS = "tests.faults.executors"


def dead(deployment: Deployment, *arguments: str, **overrides: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "dead", *arguments],
        cwd=ROOT,
        env=environment_of(deployment, "dead", **overrides),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> Any:
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def bury(deployment: Deployment, orders: Sequence[dict[str, str]], reason: str = "failed") -> list[str]:
    """Write letters for entries that were sent, as the worker does, but without their rows."""
    ids = deployment.submit(orders)
    deployment.redis.xgroup_create(deployment.orders, deployment.group, "$")
    with deployment.redis.pipeline() as pipeline:
        for entry_id, order in zip(ids, orders, strict=True):
            notes = {
                "entry_id": entry_id,
                "reason": reason,
                "order_id": order["order_id"],
                "error": "\x1b[2J",
            }
            originals = {f"orig:{name}": value for name, value in order.items()}
            pipeline.xadd(deployment.dead_letters, notes | originals)  # type: ignore[arg-type]
        return [letter_id.decode() for letter_id in pipeline.execute()]


def replayed_entries(deployment: Deployment) -> list[str]:
    return [
        dict(f)["replay_of"].decode()
        for _, f in deployment.entries(deployment.orders)
        if "replay_of" in dict(f)
    ]


def accept_all(deployment: Deployment) -> None:
    """Log what replays have added."""
    deployment.accepted[:] = [entry_id for entry_id, _ in deployment.entries(deployment.orders)]


def run_until_settled(deployment: Deployment, folder: Path) -> None:
    with workers(deployment, folder, 1) as (replica,):
        eventually(deployment.all_settled)
        assert replica.drain() == 0


def _settled_or_ended(deployment: Deployment, replica: WorkerProcess) -> bool:
    try:
        replica.wait(within=0.02)
    except subprocess.TimeoutExpired:
        return deployment.all_settled()
    return True


def fail_all(deployment: Deployment, folder: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    """Run replicas with a broken executor until everything is settled."""
    notes = folder / "executions"
    notes.touch()
    monkeypatch.setenv(NOTES, str(notes))
    overrides = {"executor": f"{EXECUTORS}:{executor}", "max_deliveries": 3}
    for attempt in range(20):
        replica = WorkerProcess(deployment, folder / f"{executor}-{attempt}.log", COMMAND, **overrides)
        try:
            eventually(partial(_settled_or_ended, deployment, replica))
            if deployment.all_settled():
                assert replica.drain() == 0
                return
        finally:
            replica.end()
    raise AssertionError("it does not come to an end")


@pytest.mark.parametrize(("executor", "reason"), [("Raising", "failed"), ("Killing", "poison")])
def test_buried_orders_are_executed_once_when_replayed_after_the_executor_was_mended(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, reason: str
) -> None:
    orders = numbered_orders(6)
    derived = {name: value for name, value in orders[5].items() if name != "order_id"}
    ids = deployment.submit(
        [
            *({**order, "client_id": "poison"} for order in orders[:2]),
            *orders[2:5],
            {**derived, "client_id": "poison"},
        ]
    )
    fail_all(deployment, tmp_path, monkeypatch, executor)
    assert [letter["reason"].decode() for letter in deployment.letters()] == [reason] * 3
    assert_invariants(deployment)
    before = deployment.rows()

    done = said(dead(deployment, "replay", "--reason", reason, "--yes", "--json"))
    accept_all(deployment)
    run_until_settled(deployment, tmp_path)

    assert len(done["replayed"]) == 3
    rows = deployment.rows()
    assert rows.keys() == before.keys()
    assert derived_order_id(deployment.fleet.source, ids[5]) in rows
    assert {row.entry_id for row in rows.values()} >= set(done["replayed"].values())
    assert Counter(result["order_id"] for result in deployment.published()) == Counter(list(rows))
    assert_invariants(deployment)


def test_replay_that_is_killed_again_and_again_adds_each_letter_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    bury(deployment, numbered_orders(1000))
    chance = random.Random(5)  # noqa: S311  repeatable
    command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes"]
    killed = 0

    for _ in range(10):
        kill_at = deployment.redis.xlen(deployment.orders) + chance.randint(1, 90)
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment_of(deployment, "dead"), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while running.poll() is None and deployment.redis.xlen(deployment.orders) < kill_at:
            pass
        running.kill()
        killed += running.wait(timeout=20) == -signal.SIGKILL
    rest = said(dead(deployment, "replay", "--all", "--yes", "--json"))
    second = said(dead(deployment, "replay", "--all", "--yes", "--json"))

    assert killed >= 5
    assert (second["replayed"], second["selected"]) == ({}, 0)
    assert rest["refused"] == {}
    assert sorted(replayed_entries(deployment)) == sorted(deployment.accepted)
    states = [json.loads(state) for state in deployment.redis.hvals(f"{deployment.dead_letters}:state")]
    accept_all(deployment)
    assert sorted(state["replayed_as"] for state in states) == sorted(deployment.accepted[1000:])
    run_until_settled(deployment, tmp_path)
    assert len(deployment.published()) == 1000
    assert_invariants(deployment)


def test_interrupted_replay_says_how_far_it_came_and_goes_on_when_run_again(deployment: Deployment) -> None:
    bury(deployment, numbered_orders(1000))
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes"],
        cwd=ROOT, env=environment_of(deployment, "dead"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually(lambda: deployment.redis.xlen(deployment.orders) > 1010)

    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=20)

    assert running.returncode == 130
    assert "worker: interrupted" in errors
    assert "of 1000 dead letters replayed; run it again" in errors
    assert "Traceback" not in errors
    assert dead(deployment, "replay", "--all", "--yes").returncode == 0
    assert sorted(replayed_entries(deployment)) == sorted(deployment.accepted)


def test_what_can_not_be_replayed_is_named_and_the_others_go_on(deployment: Deployment) -> None:
    (good,) = bury(deployment, numbered_orders(1))
    for letter in (
        {"entry_id": "5-1", "reason": "conflict", "order_id": "o", "orig:symbol": "A"},
        {"entry_id": "6-1", "reason": "trimmed", "order_id": "p"},
        {"entry_id": "7-1", "reason": "too_large", "sha256": "00", "head": "x"},
    ):
        deployment.redis.xadd(deployment.dead_letters, letter)  # type: ignore[arg-type]
    _, conflict, trimmed, large = (letter_id for letter_id, _ in deployment.entries(deployment.dead_letters))

    done = dead(deployment, "replay", "--all", "--yes", "--json")

    assert done.returncode == 1
    answer = said(done)
    assert list(answer["replayed"]) == [good]
    assert list(answer["refused"]) == [conflict, trimmed, large]
    assert [why.partition(":")[0] for why in answer["refused"].values()] == [
        "conflict",
        "trimmed",
        "too_large",
    ]
    assert all(f"worker: {letter_id}: " in done.stderr for letter_id in (conflict, trimmed, large))
    again = said(dead(deployment, "replay", conflict, "--set", "order_id=o-2", "--yes", "--json"))
    assert list(again["replayed"]) == [conflict]


def test_replay_edits_fields_and_the_letter_says_which(deployment: Deployment, tmp_path: Path) -> None:
    order = {**numbered_orders(1)[0], "quantity": "1", "timestamp": "1"}
    (letter_id,) = bury(deployment, [order])

    done = dead(deployment, "replay", letter_id, "--set", "quantity=2.5", "--fresh", "--yes")

    assert done.returncode == 0
    shown = said(dead(deployment, "show", letter_id, "--json"))
    assert shown["closed"]["changed"]["quantity"] == ["1", "2.5"]
    assert shown["closed"]["changed"]["timestamp"][0] == "1"
    assert shown["closed"]["fresh"] is True
    accept_all(deployment)
    run_until_settled(deployment, tmp_path)
    (row,) = deployment.rows().values()
    assert (str(row.quantity), row.order_id) == ("2.5", order["order_id"])
    assert int(row.labels.timestamp or 0) > 1_700_000_000


def test_discarded_letter_is_closed_and_stays_so(deployment: Deployment) -> None:
    first, second = bury(deployment, numbered_orders(2))

    discarded = said(dead(deployment, "discard", first, "--yes", "--json"))
    again = dead(deployment, "discard", first, "--yes")
    replayed = dead(deployment, "replay", first, "--yes")

    assert list(discarded["discarded"]) == [first]
    assert (again.returncode, replayed.returncode) == (0, 1)
    assert f"{first}: discarded by" in replayed.stderr
    assert replayed_entries(deployment) == []
    opened = said(dead(deployment, "list", "--json"))["letters"]
    closed = said(dead(deployment, "list", "--closed", "--json"))["letters"]
    assert ([each["id"] for each in opened], [each["id"] for each in closed]) == ([second], [first])


def test_dry_run_and_unasked_runs_change_nothing(deployment: Deployment) -> None:
    bury(deployment, numbered_orders(3))

    looked = said(dead(deployment, "replay", "--all", "--dry-run", "--limit", "2", "--json"))
    refused = [dead(deployment, verb, "--all") for verb in ("replay", "discard")]

    assert len(looked["would be replayed"]) == 2
    assert [(each.returncode, "--yes" in each.stderr) for each in refused] == [(2, True)] * 2
    assert replayed_entries(deployment) == []
    assert not deployment.redis.exists(f"{deployment.dead_letters}:state")


def test_letters_are_chosen_by_reason_and_time(deployment: Deployment) -> None:
    ids = bury(deployment, numbered_orders(2))
    deployment.redis.xadd(deployment.dead_letters, {"entry_id": "1-1", "reason": "poison"})

    def listed(*arguments: str) -> list[str]:
        return [each["id"] for each in said(dead(deployment, "list", "--json", *arguments))["letters"]]

    assert listed("--reason", "failed") == ids
    assert listed("--reason", "failed", "--limit", "1") == ids[:1]
    assert len(listed("--since", "1h")) == 3
    assert listed("--since", "0") == []


def test_shown_letter_is_escaped(deployment: Deployment) -> None:
    (letter_id,) = bury(deployment, [{**numbered_orders(1)[0], "reason": "\x1b]0;x\x07\r\nforged"}])

    shown = [dead(deployment, "show", letter_id), dead(deployment, "list")]

    for each in shown:
        assert each.returncode == 0
        assert not set(each.stdout) & {"\x1b", "\x07", "\r"}
    assert "\\x1b]0;x" in shown[0].stdout
    assert f"worker dead replay {letter_id}" in shown[0].stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nonsense"), 2),
        (("show", "1-1"), 1),
        (("replay", "1-1", "--yes"), 1),
        (("discard", "1-1", "--yes"), 1),
        (("replay", "--yes"), 2),
        (("replay", "--all", "--limit", "0", "--yes"), 2),
        (("replay", "18446744073709551616-0", "--yes"), 2),
        (("list", "--since", "yesterday"), 2),
    ],
)
def test_bad_and_unknown_ids_are_one_line_and_an_exit_code(
    deployment: Deployment, arguments: tuple[str, ...], code: int
) -> None:
    done = dead(deployment, *arguments)

    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_list_is_quiet_when_its_reader_has_gone(deployment: Deployment) -> None:
    bury(deployment, numbered_orders(1000))
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "dead", "list"],
        cwd=ROOT, env=environment_of(deployment, "dead"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stderr is not None

    first = running.stdout.readline()
    running.stdout.close()

    assert b"failed" in first
    assert running.stderr.read() == b""
    running.stderr.close()
    running.wait(timeout=20)
