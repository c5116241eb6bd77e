"""What is known of the workflows without GitHub: least rights, pinned actions, scans, provenance, targets."""

import copy
import re
import tomllib
from typing import Any

import pytest

from tests.processes import ROOT
from tests.workflows import FOLDER, MAY_WRITE, commits, may_too_much, needed, read, steps, unpinned, unscanned

FILES = {path.stem: path for path in FOLDER.glob("*.yml")}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
WORKFLOWS = {name: read(path) for name, path in FILES.items()}
PROVENANCE = "actions/attest-build-provenance@"


def planted(name: str, *keys: Any, value: Any) -> dict[str, Any]:
    """Return a workflow in which something else stands at a place."""
    made = copy.deepcopy(WORKFLOWS[name])
    place: Any = made
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return made


@pytest.mark.parametrize("name", FILES)
def test_actions_are_taken_by_commit_and_each_by_one(name: str) -> None:
    assert list(unpinned(TEXTS[name])) == []
    assert {action: found for action, found in commits(*TEXTS.values()).items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    "line",
    [
        "- uses: actions/checkout@v4",
        "- uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683",
        "- uses: actions/checkout@11bd719 # v4.2.2",
    ],
)
def test_action_that_may_become_another_is_found(line: str) -> None:
    assert list(unpinned(f"steps:\n  {line}\n")) == [line]


@pytest.mark.parametrize("name", FILES)
def test_job_may_write_only_what_it_publishes(name: str) -> None:
    assert list(may_too_much(name, WORKFLOWS[name])) == []
    assert {job for workflow, job in MAY_WRITE if workflow == name} <= set(WORKFLOWS[name]["jobs"])


IMAGE = ("jobs", "image")
OTHERS = {"uses": f"somebody/action@{'a' * 40}"}


@pytest.mark.parametrize(
    ("name", "keys", "value", "fault"),
    [
        ("ci", ("permissions",), "write-all", "permissions are write-all"),
        ("ci", ("permissions",), None, "permissions are None"),
        ("ci", (*IMAGE, "permissions"), {"packages": "write"}, "may write ['packages']"),
        ("ci", (*IMAGE, "permissions"), "write-all", "may write ['all']"),
        (
            "release",
            ("jobs", "publish", "permissions"),
            {"contents": "write", "packages": "write"},
            "may write",
        ),
        ("ci", (*IMAGE, "steps", 0, "with"), {}, "a checkout leaves the token"),
        ("ci", (*IMAGE, "steps", 1, "run"), "echo ${{ github.head_ref }}", "what others wrote"),
        ("release", ("jobs", "publish", "steps", 0), OTHERS, "may write, and runs somebody/action"),
        ("release", ("jobs", "publish", "steps", 0), {"run": "make test"}, "may write, and runs make test"),
    ],
)
def test_right_that_is_too_much_is_found(name: str, keys: tuple[Any, ...], value: Any, fault: str) -> None:
    found = list(may_too_much(name, planted(name, *keys, value=value)))

    assert any(fault in each for each in found), found


@pytest.mark.parametrize("name", FILES)
def test_image_is_scanned_before_anything_is_done_with_it(name: str) -> None:
    assert list(unscanned(name, WORKFLOWS[name])) == []
    assert any("make image" in step.get("run", "") for _, step in steps(WORKFLOWS[name]))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ((*IMAGE, "steps", 2), {"run": "docker push orders-worker"}),
        ((*IMAGE, "steps", 2, "with", "exit-code"), "0"),
        ((*IMAGE, "steps", 2, "with", "severity"), "CRITICAL"),
        ((*IMAGE, "steps", 2, "with", "image-ref"), "python:3.13-slim"),
        ((*IMAGE, "steps", 2, "continue-on-error"), True),
        ((*IMAGE, "steps", 2, "if"), "false"),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_image_that_is_not_scanned_is_found(name: str, keys: tuple[Any, ...], value: Any) -> None:
    assert list(unscanned(name, planted(name, *keys, value=value))) != []


def test_nothing_is_published_that_was_not_checked_scanned_and_given_a_provenance() -> None:
    release = WORKFLOWS["release"]
    # YAML 1.1 reads the key `on` as a truth.
    (on,) = (value for key, value in release.items() if str(key) in {"on", "True"})
    by_job: dict[str, list[dict[str, Any]]] = {}
    for job, step in steps(release):
        by_job.setdefault(job, []).append(step)
    proven = {
        job: step["with"]
        for job, all_of in by_job.items()
        for step in all_of
        if PROVENANCE in step.get("uses", "")
    }

    assert on == {"push": {"tags": ["v*"]}}
    assert "make release-check" in [step.get("run") for step in by_job["check"]]
    assert needed(release, "publish") == set(release["jobs"]) - {"publish"}
    assert {"check", "packages", "image"} <= needed(release, "publish-image")
    assert proven["packages-provenance"]["subject-path"] == "dist/*"
    assert proven["publish-image"]["subject-digest"] == "${{ steps.push.outputs.digest }}"
    assert proven["publish-image"]["push-to-registry"] is True


def test_what_is_built_for_a_release_stands_on_one_base_by_its_digest() -> None:
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    (made,) = [step["run"] for _, step in steps(WORKFLOWS["release"]) if "make image" in step.get("run", "")]

    assert base is not None
    assert f"docker pull -q {base[1]}\n" in made
    assert (
        f"""make image BASE="$(docker inspect --format '{{{{index .RepoDigests 0}}}}' {base[1]})\"""" in made
    )


def test_every_job_ends_by_itself() -> None:
    assert [
        (name, job)
        for name, workflow in WORKFLOWS.items()
        for job, told in workflow["jobs"].items()
        if not 0 < told.get("timeout-minutes", 0) <= 60
    ] == []


def test_targets_and_files_that_workflows_and_steps_name_are_there() -> None:
    listed = tomllib.loads((ROOT / ".ci" / "steps.toml").read_text(encoding="utf-8"))["step"]
    commands = [command for step in listed for command in step["commands"]]
    commands += [
        step["run"] for workflow in WORKFLOWS.values() for _, step in steps(workflow) if "run" in step
    ]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {each for command in commands for each in re.findall(r"\bmake ([a-z-]+)", command)}
    paths = {each for command in commands for each in re.findall(r"(?:tests|\.ci|worker)/[\w/.-]+", command)}
    pins = WORKFLOWS["ci"]["jobs"]["vulnerabilities"]["strategy"]["matrix"]["pins"]

    assert named >= {"image", "dist", "release-check", "test", "check"}
    assert named - targets == set()
    assert {each for each in paths if not (ROOT / each).exists()} == set()
    assert {each for each in pins if not (ROOT / "requirements" / f"{each}.txt").exists()} == set()
