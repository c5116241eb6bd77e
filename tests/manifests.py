"""The files of deploy/kubernetes, as they stand and as kubectl renders them."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT
from tests.skips import Reason, skip

FOLDER = ROOT / "deploy" / "kubernetes"
BASE, KEDA = FOLDER / "base", FOLDER / "keda"


def written(*folders: Path) -> list[dict[str, Any]]:
    """Return the objects in the files of folders, less what says how they are put together."""
    found = [
        each
        for folder in folders
        for file in sorted(folder.glob("*.yaml"))
        for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]
    return [each for each in found if each.get("kind", "Kustomization") != "Kustomization"]


def kustomization(folder: Path) -> dict[str, Any]:
    """Return how the objects of a folder are put together."""
    found: dict[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def generated(name: str) -> dict[str, str]:
    """Return what a generated map of the base holds."""
    (made,) = [each for each in kustomization(BASE)["configMapGenerator"] if each["name"] == name]
    return dict(each.split("=", 1) for each in made["literals"])


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Return what kubectl would apply; where there is none, the test is left out."""
    program = shutil.which("kubectl")
    if program is None:
        skip(Reason.NO_KUBECTL)
    made = subprocess.run([program, "kustomize", str(folder)], capture_output=True, check=True, timeout=60)
    return list(yaml.safe_load_all(made.stdout))


def the(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one object of a kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each pod is made of, and by which kind of object."""
    for each in objects:
        if "template" in each.get("spec", {}):
            yield each["kind"], each["spec"]["template"]["spec"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod, in the order in which they begin."""
    return [*pod.get("initContainers", []), *pod["containers"]]
