"""What would be shipped of a tree: built twice, installed into an empty environment, listed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tests.installing import built
from tests.release.said import git, version_of

# What is no part of a tree, wherever it is built.
NOT_SHIPPED = (".git", ".venv", ".local", "__pycache__", ".*_cache", ".hypothesis", "dist", "secrets")
TARGETS = ("wheel", "sdist")
# What a build adds to an sdist.
MADE = {"PKG-INFO"}
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding="utf-8").read())
sys.exit(0 if fault is None else f"{getattr(fault, 'data', fault)}"[:400])
"""
INSTALL_LIMIT_S = 600
Command: TypeAlias = Sequence[str | Path]


class Failed(Exception):
    """A program did not do what it was asked for."""


def run(command: Command, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program in a folder and return what it printed; raises Failed with the end of what it said."""
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=INSTALL_LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Failed(
            f"{Path(command[0]).name} {' '.join(map(str, command[1:4]))}: exit code {done.returncode}: {said}"
        )
    return done.stdout


def builds(root: Path, scratch: Path) -> Iterator[str]:
    """Yield which of wheel and sdist differs when it is built again, elsewhere, or out of the sdist.

    The wheel is left in `scratch/wheel`.
    """
    copy = scratch / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*NOT_SHIPPED), copy_function=shutil.copy)
    made = {}
    for target in TARGETS:
        try:
            made[target] = built(root, scratch / target, target)
            again = built(copy, scratch / f"{target}-again", target)
        except subprocess.CalledProcessError as error:
            yield f"the {target} can't be built: {error.stderr.decode(errors='replace').strip()[-300:]}"
            return
        if (made[target].name, made[target].read_bytes()) != (again.name, again.read_bytes()):
            yield f"two builds of the {target} differ: {made[target].name}, {again.name}"
    with tarfile.open(made["sdist"]) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(scratch / "unpacked")  # noqa: S202  made by ourselves, a moment ago
        names = {each.name.partition("/")[2] for each in archive if each.isfile()}
    told = git(root, "ls-files", "-z")
    if told.returncode == 0:
        strange = names - set(told.stdout.split("\0")) - MADE
        yield from (f"the sdist holds {each}, which is in no commit" for each in sorted(strange))
    (unpacked,) = (scratch / "unpacked").iterdir()
    if built(unpacked, scratch / "wheel-of-the-sdist").read_bytes() != made["wheel"].read_bytes():
        yield "the wheel of the sdist is not that of the tree"
    if not made["wheel"].name.startswith(f"orders_worker-{version_of(root)}-"):
        yield f"{made['wheel'].name} is not named after version {version_of(root)}"


def installs(root: Path, scratch: Path) -> Iterator[str]:
    """Yield what fails where the wheel and its pins are installed into an environment that is empty.

    It is left in `scratch/installed`, for `listed`. Fetches from where pip is told to.
    """
    wheels = list((scratch / "wheel").glob("*.whl"))
    if not wheels:
        yield "there is no wheel to install: the check of the builds leaves one"
        return
    environment = scratch / "installed"
    venv.create(environment, symlinks=True)
    pip: Command = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    install: Command = [*pip, "install", "-q", "--disable-pip-version-check"]
    worker = environment / "bin" / "worker"
    # Nothing of this process's own environment makes it work.
    bare = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    try:
        pins = root / "requirements" / "worker.txt"
        run([*install, "--require-hashes", "--only-binary", ":all:", "-r", pins], scratch)
        run([*install, "--no-deps", "--no-index", wheels[0]], scratch)
        run([*pip, "check"], scratch)
        told = run([worker, "--version"], scratch, bare)
        if told != f"worker, version {version_of(root)}\n":
            yield f"`worker --version` says {told.strip()!r}"
        shown = run([worker, "--help"], scratch, bare)
        missing = [each for each in commands(root) if not re.search(rf"^ +{each} ", shown, re.MULTILINE)]
        yield from (f"`worker --help` does not name {each}" for each in missing)
    except Failed as failed:
        yield str(failed)


def commands(root: Path) -> list[str]:
    """Return the commands that the reference of a tree has."""
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"^#+ worker ([a-z]+)", page, re.MULTILINE)))


def listed(root: Path, scratch: Path) -> Iterator[str]:
    """Yield what is wrong with the list of what was installed, made as in the image (CycloneDX)."""
    python = scratch / "installed" / "bin" / "python"
    if not python.exists():
        yield "nothing is installed that could be listed: the check before leaves it"
        return
    made = scratch / "sbom.cdx.json"
    tools = scratch / "tools"
    venv.create(tools, symlinks=True)
    pip: Command = [sys.executable, "-m", "pip", "--python", tools / "bin" / "python", "install", "-q"]
    path = {**os.environ, "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    try:
        pins = root / "requirements" / "build.txt"
        run([*pip, "--disable-pip-version-check", "--require-hashes", "-r", pins], scratch)
        run([root / "requirements" / "sbom", python, made], scratch, path)
    except Failed as failed:
        yield str(failed)
        return
    yield from wrong_with(made, root, tools / "bin" / "python", installed_in(scratch / "installed"))


def installed_in(environment: Path) -> set[tuple[str, str]]:
    """Return name and version of each package of an environment."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    parts = [each.name.removesuffix(".dist-info").rpartition("-") for each in packages.glob("*.dist-info")]
    return {(same(name), version) for name, _, version in parts}


def wrong_with(sbom: Path, root: Path, python: Path, installed: set[tuple[str, str]]) -> Iterator[str]:
    """Yield what is wrong with a list, by the schema of CycloneDX and by what is installed.

    The Python has what `requirements/build.txt` pins, the schemas of CycloneDX among it.
    """
    try:
        run([python, "-c", VALIDATE, sbom], sbom.parent)
        told = json.loads(sbom.read_text(encoding="utf-8"))
    except (Failed, ValueError) as error:
        yield f"it is not CycloneDX 1.6: {error}"
        return
    of = told.get("metadata", {}).get("component", {})
    if (of.get("name"), of.get("version")) != ("orders-worker", version_of(root)):
        yield f"it is of {of.get('name')} {of.get('version')}, not of orders-worker {version_of(root)}"
    there = {(same(each["name"]), each.get("version")) for each in told.get("components", [])}
    there.add((same("orders-worker"), version_of(root)))
    yield from (f"it lacks {name} {version}" for name, version in sorted(installed - there))


def same(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
