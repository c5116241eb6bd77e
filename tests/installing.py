"""Versions of the worker, each built from its tree and installed for itself, as `pip install` does.

What they depend on is taken from where the tests run: nothing is fetched.
"""

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

from tests.processes import ROOT
from tests.skips import Reason, skip

# Which commit counts as 0.1.0 stands where people read it.
UPGRADE_PAGE = ROOT / "docs" / "upgrade.md"


def first_version(page: Path = UPGRADE_PAGE) -> str:
    """Return the commit that the page on upgrading names as 0.1.0."""
    (commit,) = re.findall(r"\b[0-9a-f]{40}\b", page.read_text(encoding="utf-8"))
    return str(commit)


def unpacked(commit: str, folder: Path, *paths: str) -> Path:
    """Return a folder with a commit, or paths of it; leaves out the test where that can't be had."""
    try:
        told = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, *paths], capture_output=True, check=False, timeout=60
        )
    except OSError as error:
        skip(Reason.NO_LAST_VERSION, str(error))
    if told.returncode:
        skip(Reason.NO_LAST_VERSION, told.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
        # It comes from our own repository; Python 3.11 before 3.11.4 knows no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)  # noqa: S202
    return folder


def built(tree: Path, folder: Path, target: str = "wheel") -> Path:
    """Build what is shipped of a tree, a wheel or an sdist, into an empty folder, and return it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=tree, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = folder.iterdir()
    return made


def installed(tree: Path, folder: Path) -> Path:
    """Install the wheel of a tree into an environment of its own, and return its `worker`."""
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built(tree, folder / "dist"))], check=True, capture_output=True, timeout=120)
    # Its own packages come first; none of what the tests have installed is a worker then.
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (own / "libraries-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "venv" / "bin" / "worker"
