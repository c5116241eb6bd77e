"""What `make release-check` builds and installs: each fault is planted in a copy of this tree."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from tests.installing import built
from tests.processes import ROOT
from tests.release import shipped
from tests.release.planting import change, git, tree
from worker import __version__

__all__ = ["tree"]

HOOK = """
[tool.hatch.build.targets.{target}.hooks.custom]
path = "hook.py"
"""
# A build that leaves what differs from one time to the next.
UNEQUAL = """
import uuid
from pathlib import Path
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        made = Path(self.root) / "worker" / "stamp.txt"
        made.write_text(uuid.uuid4().hex)
        build_data["artifacts"].append("worker/stamp.txt")
"""


def test_wheel_and_sdist_of_this_tree_are_the_same_when_they_are_built_again(
    tree: Path, tmp_path: Path
) -> None:
    assert list(shipped.builds(tree, tmp_path)) == []
    assert [each.suffix for each in (tmp_path / "wheel").iterdir()] == [".whl"]


@pytest.mark.parametrize("target", shipped.TARGETS)
def test_builds_that_differ_are_found(tree: Path, tmp_path: Path, target: str) -> None:
    (tree / "hook.py").write_text(UNEQUAL, encoding="utf-8")
    with (tree / "pyproject.toml").open("a", encoding="utf-8") as settings:
        settings.write(HOOK.format(target=target))

    assert any(f"two builds of the {target} differ" in each for each in shipped.builds(tree, tmp_path))


def test_sdist_that_holds_what_is_in_no_commit_is_found(tree: Path, tmp_path: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    (tree / "docs" / "password.txt").touch()

    assert list(shipped.builds(tree, tmp_path)) == [
        "the sdist holds docs/password.txt, which is in no commit"
    ]


def test_tree_that_can_not_be_built_is_found(tree: Path, tmp_path: Path) -> None:
    change(tree / "pyproject.toml", 'readme = "README.md"', 'readme = "NOWHERE.md"')

    (found,) = shipped.builds(tree, tmp_path)
    assert found.startswith("the wheel can't be built: ")
    assert "NOWHERE.md" in found


# What a wheel of one module is made of.
NEEDED = {
    "needed.py": "",
    "needed-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: needed\nVersion: 1.0\n",
    "needed-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "needed-1.0.dist-info/RECORD": "",
}
# A worker that takes nothing else.
WORKER = """import sys

def main():
    if "--version" in sys.argv:
        print("worker, version {version}")
    else:
        print("{commands}")
"""


@pytest.fixture
def installing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose worker needs one package alone, which lies beside it: nothing is fetched."""
    made = tmp_path / "packages" / "needed-1.0-py3-none-any.whl"
    made.parent.mkdir()
    with zipfile.ZipFile(made, "w") as wheel:
        for name, text in NEEDED.items():
            wheel.writestr(name, text)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    pins = tree / "requirements" / "worker.txt"
    pins.write_text(f"needed==1.0 --hash=sha256:{digest}\n", encoding="utf-8")
    project = tree / "pyproject.toml"
    project.write_text(
        re.sub(
            r"^dependencies = \[.*?^\]", 'dependencies = ["needed"]', project.read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        ),
        encoding="utf-8",
    )  # fmt: skip
    shown = "\\n".join(f"  {each}  does it" for each in shipped.commands(tree))
    program = tree / "worker" / "__main__.py"
    program.write_text(WORKER.format(version=__version__, commands=shown), encoding="utf-8")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.parent))
    return tree


def faults_of_installing(tree: Path, scratch: Path) -> list[str]:
    built(tree, scratch / "wheel")
    return list(shipped.installs(tree, scratch))


def test_wheel_that_works_beside_its_pins_is_sound(installing: Path, tmp_path: Path) -> None:
    assert faults_of_installing(installing, tmp_path) == []
    assert shipped.installed_in(tmp_path / "installed") == {("needed", "1.0"), ("orders-worker", __version__)}


@pytest.mark.parametrize(
    ("file", "before", "after", "fault"),
    [
        ("requirements/worker.txt", "sha256:", "sha256:0", "pip"),
        ("requirements/worker.txt", " --hash", " #", "pip"),
        ("pyproject.toml", '["needed"]', '["needed", "forgotten"]', "forgotten"),
        (
            "worker/__main__.py",
            f"version {__version__}",
            "version 9",
            "`worker --version` says 'worker, version 9'",
        ),
        ("worker/__main__.py", "import sys", "import nothing_of_that_name", "exit code 1"),
        ("worker/__main__.py", "  audit  ", "  ordit  ", "`worker --help` does not name audit"),
    ],
    ids=["wrong hash", "no hash", "missing pin", "other version", "does not start", "no command"],
)
def test_wheel_that_does_not_work_beside_its_pins_is_found(
    installing: Path, tmp_path: Path, file: str, before: str, after: str, fault: str
) -> None:
    change(installing / file, before, after)

    (found,) = faults_of_installing(installing, tmp_path)
    assert fault in found


def test_nothing_that_was_not_built_is_installed_or_listed(tmp_path: Path) -> None:
    assert list(shipped.installs(ROOT, tmp_path)) == [
        "there is no wheel to install: the check of the builds leaves one"
    ]
    assert list(shipped.listed(ROOT, tmp_path)) == [
        "nothing is installed that could be listed: the check before leaves it"
    ]
