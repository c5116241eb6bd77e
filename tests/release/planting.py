"""Copies of the tree to plant faults in, for tests of the check of a release."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.release import shipped


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of this tree without a history."""
    copy = tmp_path / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*shipped.NOT_SHIPPED))
    return copy


def change(path: Path, before: str, after: str) -> None:
    """Plant a fault. Fails where nothing is as it is before."""
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{before!r} is not in {path}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def git(tree: Path, *arguments: str) -> None:
    """Run git in a tree, as somebody."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(tree), *who, *arguments], check=True, capture_output=True)
