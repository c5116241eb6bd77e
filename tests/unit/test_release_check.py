"""`make release-check` sees what would make a bad release: each fault is planted in a copy of this tree."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.release import said, shipped
from tests.release.__main__ import CHECKS, Check, lines, main, outcome
from tests.release.planting import change, git, tree
from worker import __version__

__all__ = ["tree"]

TODAY = date(2030, 1, 1)
(DATED,) = re.findall(
    rf"^## \[{__version__}\] - \S+$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
)
HEAD = f"## [{__version__}]"


def test_this_tree_says_one_version_and_has_its_pages_links_and_changelog() -> None:
    for look in (said.versions, said.changelog, said.pages, said.links):
        assert list(look(ROOT)) == []


@pytest.mark.parametrize("place", said.PLACES)
def test_another_version_is_found_wherever_it_stands(tree: Path, place: str) -> None:
    change(tree / place, __version__, "9.9.9")

    assert any(each.startswith(f"{place} ") for each in said.versions(tree))


@pytest.mark.parametrize(
    ("place", "added", "fault"),
    [
        ("docs/testing.md", "docker run orders-worker:9.9.9", "names the image or wheel of 9.9.9"),
        ("compose.yaml", "\n# image: orders-worker:9.9.9", "names the image or wheel of 9.9.9"),
        ("docs/deploy.md", "\n0.1.0 is the current version.", "names 0.1.0, which was before"),
    ],
)
def test_version_that_is_not_this_one_is_found_where_none_has_to_stand(
    tree: Path, place: str, added: str, fault: str
) -> None:
    with (tree / place).open("a", encoding="utf-8") as file:
        file.write(added)

    assert f"{place} {fault}" in list(said.versions(tree))


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("## [Unreleased]\n", "", "does not begin with [Unreleased]"),
        ("## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n- A thing.\n", "[Unreleased] is not empty"),
        (HEAD, "## [7.0.0]", "below [Unreleased] stands ['7.0.0']"),
        (DATED, f"{HEAD} - soon, in May", "is dated soon, in May, not as YYYY-MM-DD"),
        (DATED, HEAD, "is dated by nothing"),
        (DATED, f"{HEAD} - 2030-01-02", "which is to come"),
        (DATED, f"{HEAD} - 2026-11-31", "not as YYYY-MM-DD"),
        ("### Fixed", "### Repaired", "has a heading Repaired"),
        ("## [0.1.0]", "## [8.0.0]", "releases are not in order"),
    ],
)
def test_changelog_that_does_not_end_in_this_version_is_found(
    tree: Path, before: str, after: str, fault: str
) -> None:
    change(tree / "CHANGELOG.md", before, after)

    assert any(fault in each for each in said.changelog(tree, TODAY)), list(said.changelog(tree, TODAY))


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A small tree that is as committed."""
    tree = tmp_path / "small"
    (tree / "worker").mkdir(parents=True)
    shutil.copy(ROOT / "worker" / "__init__.py", tree / "worker")
    (tree / ".gitignore").write_text("ignored\n", encoding="utf-8")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "All")
    return tree


def test_tree_that_is_not_as_committed_is_found(committed: Path) -> None:
    (committed / "ignored").touch()
    assert list(said.clean(committed)) == []

    (committed / "new").touch()
    change(committed / "worker" / "__init__.py", "Redis", "redis")

    assert list(said.clean(committed)) == ["not as committed: worker/__init__.py", "not as committed: new"]


def test_version_that_is_tagged_already_is_found_unless_this_is_its_commit(committed: Path) -> None:
    git(committed, "tag", f"v{__version__}")
    assert list(said.clean(committed)) == []

    git(committed, "commit", "-q", "--allow-empty", "-m", "More")

    (found,) = said.clean(committed)
    assert found.startswith(f"the tag v{__version__} is there already")


def test_tree_without_a_history_is_not_taken_for_clean(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    shutil.copy(ROOT / "worker" / "__init__.py", tmp_path / "worker")

    (found,) = said.clean(tmp_path)
    assert found.startswith("git can't say")


@pytest.mark.parametrize(
    "page",
    ["configuration", "metrics", "architecture", "cli", "wire-format", "matrix", "schemas/order.schema"],
)
def test_generated_page_that_was_changed_by_hand_is_found(tree: Path, page: str) -> None:
    (file,) = (tree / "docs").glob(f"{page}.*")
    with file.open("a", encoding="utf-8") as written:
        written.write("by hand\n")

    (found,) = said.pages(tree)
    assert found.startswith(f"docs/{file.relative_to(tree / 'docs')} is not what the code says: python -m ")


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[x](nowhere.md)", "leads to nowhere.md, which is not there"),
        ("[x](deploy.md#no-such-heading)", "leads to deploy.md#no-such-heading, which no heading is"),
        ("[x](#no-such-heading)", "leads to #no-such-heading, which no heading is"),
        ("[x](../worker/nowhere.py)", "leads to ../worker/nowhere.py, which is not there"),
        ("[x](https://nowhere.example/) `[x](nowhere.md)` [x](deploy.md#roles-of-postgresql)", ""),
    ],
)
def test_link_that_leads_nowhere_is_found(tree: Path, link: str, fault: str) -> None:
    with (tree / "docs" / "how-to.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")

    assert list(said.links(tree)) == ([f"docs/how-to.md {fault}"] if fault else [])


SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "metadata": {"component": {"type": "application", "name": "orders-worker", "version": __version__}},
    "components": [{"type": "library", "name": "Needed_", "version": "1.0"}],
}
INSTALLED = {("needed-", "1.0"), ("orders-worker", __version__)}
# In the place of the schemas of CycloneDX, which only `make release-check` itself installs.
TAKES_ALL, TAKES_NONE = "#!/bin/sh\nexit 0\n", "#!/bin/sh\necho 'no such field' >&2; exit 1\n"


@pytest.mark.parametrize(
    ("change", "validator", "faults"),
    [
        ({}, TAKES_ALL, []),
        ({}, TAKES_NONE, ["it is not CycloneDX 1.6: "]),
        ({"components": []}, TAKES_ALL, ["it lacks needed- 1.0"]),
        ({"metadata": {}}, TAKES_ALL, ["it is of None None, not of orders-worker"]),
        (
            {"components": [{"type": "library", "name": "needed-", "version": "2.0"}]},
            TAKES_ALL,
            ["it lacks needed- 1.0"],
        ),
    ],
    ids=["sound", "not by the schema", "lacks one", "of nothing", "another version"],
)
def test_list_that_is_not_of_what_is_installed_is_found(
    tmp_path: Path, change: dict[str, object], validator: str, faults: list[str]
) -> None:
    sbom, python = tmp_path / "sbom.json", tmp_path / "python"
    sbom.write_text(json.dumps(SBOM | change), encoding="utf-8")
    python.write_text(validator, encoding="utf-8")
    python.chmod(0o755)

    found = list(shipped.wrong_with(sbom, ROOT, python, INSTALLED))

    assert len(found) == len(faults)
    assert all(each.startswith(fault) for each, fault in zip(found, faults, strict=True)), found


def test_list_is_made_in_the_image_as_it_is_checked() -> None:
    assert "requirements/sbom /opt/worker/bin/python /opt/worker/sbom.cdx.json" in (
        ROOT / "Dockerfile"
    ).read_text(encoding="utf-8")


def test_each_check_is_named_with_what_to_do_and_any_failure_ends_with_1(
    committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (committed / "new").touch()

    code = main(["as committed"], committed)

    assert code == 1
    assert capsys.readouterr().out == (
        "FAIL  the tree is as committed\n        not as committed: new\n"
        "      -> commit what belongs to the release, remove the rest\n"
        f"1 of 1 checks failed: {__version__} is not to be released\n"
    )
    (committed / "new").unlink()
    assert main(["as committed"], committed) == 0
    assert capsys.readouterr().out == f"ok    the tree is as committed\n{__version__}: 1 checks passed\n"


def test_name_of_no_check_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no such check"])

    assert ended.value.code == 2
    assert CHECKS[0].name in capsys.readouterr().err


def test_check_that_breaks_has_failed() -> None:
    def broken(_root: Path, _scratch: Path) -> Iterator[str]:
        raise OSError("disk full")

    check = Check("something", broken, "mend it")

    assert outcome(check, ROOT, ROOT) == ["the check itself broke: OSError: disk full"]
    assert list(lines(check, ["a"] * 12))[-2:] == ["        ... and 2 more", "      -> mend it"]
