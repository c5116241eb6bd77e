"""The workflows of GitHub, and what must not be in them: what can be known of them without running them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT

FOLDER = ROOT / ".github" / "workflows"
PINNED = re.compile(r"(?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40})")
WITH_ITS_VERSION = re.compile(r"uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# Who may write what: nobody else anything.
MAY_WRITE = {
    ("release", "packages-provenance"): {"id-token", "attestations"},
    ("release", "publish-image"): {"packages", "id-token", "attestations"},
    ("release", "publish"): {"contents"},
}
# What a job that may write may run, by the first word of each line.
TRUSTED = re.compile(r"(name=|digest=|echo |printf |docker (login|load|tag|push) |gh release create )")
SCAN = {
    "image-ref": "orders-worker:latest",
    "scanners": "vuln",
    "severity": "HIGH,CRITICAL",
    "ignore-unfixed": True,
    "exit-code": "1",
}


def read(path: Path) -> dict[str, Any]:
    """Return a workflow."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(workflow: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each step with the name of its job."""
    for name, job in workflow["jobs"].items():
        for step in job["steps"]:
            yield name, step


def unpinned(text: str) -> Iterator[str]:
    """Yield each line that takes an action by no commit, or does not say which version that is."""
    for line in text.splitlines():
        if "uses:" in line and not WITH_ITS_VERSION.search(line):
            yield line.strip()


def commits(*texts: str) -> dict[str, set[str]]:
    """Return by which commits each action is taken."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for each in PINNED.finditer(text):
            found.setdefault(each["action"], set()).add(each["commit"])
    return found


def may_too_much(name: str, workflow: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a job may do that it need not, and what it runs that it is not to be trusted with."""
    if workflow.get("permissions") != {"contents": "read"}:
        yield f"{name}: permissions are {workflow.get('permissions')}, not to read contents"
    for job, told in workflow["jobs"].items():
        asked = told.get("permissions", {})
        writes = (
            {what for what, how in asked.items() if how == "write"} if isinstance(asked, dict) else {"all"}
        )
        if writes != MAY_WRITE.get((name, job), set()):
            yield f"{name}, {job}: may write {sorted(writes)}"
    for job, step in steps(workflow):
        with_checkout = step.get("uses", "").startswith("actions/checkout@")
        if with_checkout and step.get("with", {}).get("persist-credentials") is not False:
            yield f"{name}, {job}: a checkout leaves the token in the tree"
        if "${{" in step.get("run", ""):
            yield f"{name}, {job}: a command is made of what others wrote: {step['run']}"
        if (name, job) in MAY_WRITE:
            yield from (f"{name}, {job}: {fault}" for fault in _untrusted(step))


def _untrusted(step: Mapping[str, Any]) -> Iterator[str]:
    if not step.get("uses", "actions/").startswith("actions/"):
        yield f"may write, and runs {step['uses']}"
    for line in step.get("run", "").strip().splitlines():
        if not TRUSTED.match(line):
            yield f"may write, and runs {line}"


def unscanned(name: str, workflow: Mapping[str, Any]) -> Iterator[str]:
    """Yield each job that makes an image and does not have it scanned before all else."""
    for job, told in workflow["jobs"].items():
        scans = [step for step in told["steps"] if "trivy-action@" in step.get("uses", "")]
        made = [n for n, step in enumerate(told["steps"]) if "make image" in step.get("run", "")]
        if not made:
            continue
        following = told["steps"][made[-1] + 1]
        if following not in scans:
            yield f"{name}, {job}: what follows the image is no scan"
        elif (
            SCAN.items() - following["with"].items()
            or following["with"]["image-ref"] != "orders-worker:latest"
        ):
            yield f"{name}, {job}: the scan is {following['with']}"
        if following.get("continue-on-error") or following.get("if"):
            yield f"{name}, {job}: the scan may fail, or be left out"


def needed(workflow: Mapping[str, Any], job: str) -> set[str]:
    """Return every job that must have passed before one begins."""
    asked = workflow["jobs"][job].get("needs", [])
    direct = {asked} if isinstance(asked, str) else set(asked)
    return direct.union(*(needed(workflow, each) for each in direct))
