"""The manifests are what Kubernetes takes, and agree with what the worker is."""

import copy
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from tests.manifests import (
    BASE,
    KEDA,
    containers,
    generated,
    kustomization,
    pods,
    rendered,
    the,
    written,
)
from tests.processes import ROOT
from tests.rights import ACL_FILE, ROLES_FILE
from worker import __version__
from worker.cli import COMMANDS
from worker.settings import read_settings, unknown_names

VERSIONS = ("1.29", kubernetes_validate.latest_version().rpartition(".")[0])
# Of operators, whose kinds Kubernetes itself has no schema of.
OPERATORS = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
OBJECTS = written(BASE)
PODS = dict(pods(OBJECTS))
EACH_CONTAINER = [
    pytest.param(pod, each, id=f"{kind}-{each['name']}")
    for kind, pod in PODS.items()
    for each in containers(pod)
]
NEEDED = {"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://localhost/orders"}


PAGE = ROOT / "docs" / "kubernetes.md"


def settings_given() -> dict[str, str]:
    """Return the settings of the generated map."""
    return generated("orders-worker")


def of_kubernetes(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] not in OPERATORS]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("each", OBJECTS, ids=lambda each: each["kind"])
def test_object_is_one_that_kubernetes_takes(each: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("folder", [BASE, KEDA], ids=lambda folder: folder.name)
def test_objects_that_kubectl_renders_are_those_that_kubernetes_takes(folder: Any) -> None:
    objects = rendered(folder)
    for each in of_kubernetes(objects):
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)

    assert {each["kind"] for each in written(BASE)} <= {each["kind"] for each in objects}
    assert {each["metadata"].get("namespace", "orders") for each in objects} == {"orders"}


def test_object_that_kubernetes_would_not_take_is_found() -> None:
    wrong = copy.deepcopy(the("Deployment", OBJECTS))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(("pod", "container"), EACH_CONTAINER)
def test_container_may_do_nothing_that_it_need_not(pod: dict[str, Any], container: dict[str, Any]) -> None:
    account = pod["securityContext"]

    assert account["runAsNonRoot"] is True
    assert account["runAsUser"] == 10001
    assert account["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert "cpu" not in container["resources"]["limits"]


@pytest.mark.parametrize(("pod", "container"), EACH_CONTAINER)
def test_container_finds_what_it_is_told_to_read(pod: dict[str, Any], container: dict[str, Any]) -> None:
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    files = [each["value"] for each in container.get("env", []) if each["name"].endswith("_FILE")]

    assert all(path.rpartition("/")[0] in mounted for path in files)
    assert all("secret" in mounted[path.rpartition("/")[0]] for path in files)
    if container["image"] == "orders-worker":
        assert container["args"][0] in COMMANDS
        assert {each["name"] for each in container["env"]} >= {"REDIS_URL_FILE", "DATABASE_URL_FILE"}


def test_every_setting_exists_and_is_sound() -> None:
    given = {**NEEDED, **settings_given()}
    for pod in PODS.values():
        for container in containers(pod):
            for each in container.get("env", []):
                given |= {each["name"]: each["value"]} if not each["name"].endswith("_FILE") else {}

    assert not unknown_names(given)
    read_settings(given)


def test_image_is_that_of_this_version() -> None:
    tags = {each["name"]: each["newTag"] for each in kustomization(BASE)["images"]}

    assert tags["orders-worker"] == __version__


def test_map_that_names_the_migration_follows_each_of_its_images() -> None:
    told, rules = generated("orders-migrate"), yaml.safe_load((BASE / "names.yaml").read_text("utf-8"))
    (used,) = [containers(pod) for kind, pod in PODS.items() if kind == "Job"]

    assert told == {each["name"]: each["image"] for each in used}
    assert {each["path"] for each in rules["images"]} == {f"data/{name}" for name in told}
    assert the("Job", OBJECTS)["metadata"]["name"] == "orders-migrate"


def overlay(folder: Path, text: str, *changes: tuple[str, str]) -> Path:
    """Return a folder with an overlay whose text names files of deploy as if it lay beside that."""
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    folder.mkdir()
    # Kustomize takes no absolute path; the folder it names may be anywhere.
    text = text.replace("../deploy", os.path.relpath(ROOT / "deploy", folder.resolve()))
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return folder


def shown_overlay() -> str:
    """Return the overlay that the page has its reader write."""
    (shown,) = re.findall(
        r"```yaml\n( +# orders/kustomization.yaml\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    return textwrap.dedent(shown)


TAG = f"newTag: {__version__}"


@pytest.mark.parametrize(
    "change",
    [
        (TAG, "newTag: 9.9.9"),
        (TAG, f"digest: sha256:{'a' * 64}"),
        ("registry.example/", "registry.example:5000/more/"),
        ("images:\n", "images:\n  - name: postgres\n    newTag: 18-alpine\n"),
    ],
    ids=["tag", "digest", "registry", "psql"],
)
def test_another_image_makes_another_migration_and_nothing_else_does(
    change: tuple[str, str], tmp_path: Path
) -> None:
    shown = shown_overlay()
    setting = ("WORKER_EXECUTOR=venue", "WORKER_EXECUTOR=paper")
    first, same, other = (
        the("Job", rendered(overlay(tmp_path / str(number), shown, *changes)))
        for number, changes in enumerate([[], [setting], [change]])
    )

    assert same == first
    assert other["metadata"]["name"] != first["metadata"]["name"]
    assert {each["image"] for each in containers(other["spec"]["template"]["spec"])} != {
        each["image"] for each in containers(first["spec"]["template"]["spec"])
    }


def test_migration_that_is_patched_gets_another_name_as_the_page_says(tmp_path: Path) -> None:
    (added,) = re.findall(
        r"^```yaml\nconfigMapGenerator:\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    shown = shown_overlay()
    change = ("configMapGenerator:\n", f"configMapGenerator:\n{added}")

    names = [
        the("Job", rendered(overlay(tmp_path / str(number), shown, *changes)))["metadata"]["name"]
        for number, changes in enumerate([[], [change]])
    ]

    assert names[0] != names[1]


def test_replicas_and_migration_have_one_image_whatever_it_is(tmp_path: Path) -> None:
    objects = rendered(overlay(tmp_path / "orders", shown_overlay(), (TAG, "newTag: 9.9.9")))
    images = {
        each["image"] for _, pod in pods(objects) for each in containers(pod) if each["name"] != "grant"
    }

    assert images == {"registry.example/orders-worker:9.9.9"}


def test_migration_takes_nothing_that_may_change_without_its_name() -> None:
    (pod,) = [pod for kind, pod in PODS.items() if kind == "Job"]
    maps = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]

    assert not any("envFrom" in each for each in containers(pod))
    assert maps == ["orders-roles"]
    assert kustomization(ROLES_FILE.parent)["generatorOptions"] == {"disableNameSuffixHash": True}


def test_drain_has_time_to_end_before_the_pod_is_killed() -> None:
    drain_s = read_settings({**NEEDED, **settings_given()}).drain_timeout_s

    assert PODS["Deployment"]["terminationGracePeriodSeconds"] >= drain_s + 10


def test_replica_that_lives_is_not_killed_for_an_order_that_takes_long() -> None:
    (worker,) = PODS["Deployment"]["containers"]
    probe = worker["livenessProbe"]
    settings = read_settings({**NEEDED, **settings_given()})

    assert probe["periodSeconds"] * probe["failureThreshold"] >= 2 * settings.lease_ms / 1000


def test_replicas_are_found_by_whoever_looks_for_them() -> None:
    labels = the("Deployment", OBJECTS)["spec"]["template"]["metadata"]["labels"]
    monitor = the("ServiceMonitor", written(KEDA))
    service = the("Service", OBJECTS)

    assert service["spec"]["selector"] == labels
    assert the("PodDisruptionBudget", OBJECTS)["spec"]["selector"]["matchLabels"] == labels
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["ports"][0]["port"] == read_settings(NEEDED).health_port


def test_scaling_looks_at_the_workers_own_stream_as_a_user_who_may_only_look() -> None:
    settings, scaled = read_settings(NEEDED), the("ScaledObject", written(KEDA))
    account = the("TriggerAuthentication", written(KEDA))
    triggers = [each["metadata"] for each in scaled["spec"]["triggers"]]

    assert {each["stream"] for each in triggers} == {settings.orders_stream}
    assert {each["consumerGroup"] for each in triggers} == {settings.group}
    assert {each["parameter"] for each in account["spec"]["secretTargetRef"]} == {"username", "password"}
    assert f"user {account['metadata']['name']} " in ACL_FILE.read_text(encoding="utf-8")
    assert scaled["spec"]["scaleTargetRef"]["name"] == the("Deployment", OBJECTS)["metadata"]["name"]


def test_scaling_sees_both_what_waits_and_what_a_dead_replica_holds_and_never_leaves_nobody() -> None:
    scaled = the("ScaledObject", written(KEDA))["spec"]
    wanted = [name for each in scaled["triggers"] for name in each["metadata"] if name.endswith("Count")]

    assert {"lagCount", "pendingEntriesCount"} <= set(wanted)
    assert scaled["minReplicaCount"] >= 1


def test_replicas_do_not_bring_more_replicas_by_what_they_hold() -> None:
    (target,) = [
        int(each["metadata"]["pendingEntriesCount"])
        for each in the("ScaledObject", written(KEDA))["spec"]["triggers"]
        if "pendingEntriesCount" in each["metadata"]
    ]

    # One batch in hand, and one read ahead.
    assert target >= 2 * read_settings({**NEEDED, **settings_given()}).batch_size
