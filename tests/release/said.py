"""What a tree says of itself: one version everywhere, a changelog that ends in it, pages as the code is."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from tests import architecture, documentation, reference, wire_format
from tests.matrix.cells import kept, listed
from tests.matrix.page import PAGE as MATRIX
from tests.matrix.page import page as matrix
from tests.processes import ROOT

VERSION = r"\d+\.\d+\.\d+\S*?"
# Where the version stands, at least once in each. Images and wheels are looked for in every page.
PLACES = {
    "README.md": rf"orders-worker:({VERSION})(?=[,\s])",
    "deploy/kubernetes/base/kustomization.yaml": rf"newName: orders-worker\n +newTag: ({VERSION})\n",
    "docs/deploy.md": rf"worker, version ({VERSION})\n",
    "docs/http.md": rf'"service": .*\n\s*"version": "({VERSION})"',
    "docs/kubernetes.md": rf"newTag: ({VERSION})\n",
    "docs/openapi.yaml": rf'^  version: "?({VERSION})"?\n',
    "docs/runbook/dead-letters.md": rf"worker_version +({VERSION})\n",
    "docs/upgrade.md": rf"^# From \S+ to ({VERSION})\n",
}
IMAGE_OR_WHEEL = re.compile(r"orders[-_]worker[:-](\d+\.\d+\.\d+\w*)")
# They tell of versions that were.
OF_BEFORE = {"CHANGELOG.md", "docs/upgrade.md"}
# A link to the page that tells of them, and what it says.
UPGRADING = re.compile(r"\[From \S+ to \S+\]\(upgrade.md\)", re.IGNORECASE)
RELEASE = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>[^\n]*))?\n(?P<told>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
BLOCK = re.compile(r"^( *)(`{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def version_of(root: Path) -> str:
    """Return the version that the code of a tree says it is."""
    (found,) = re.findall(r'^__version__ = "(.+)"$', _text(root / "worker" / "__init__.py"), re.MULTILINE)
    return str(found)


def versions(root: Path) -> Iterator[str]:
    """Yield where another version stands than in the code, and where one of before is named as if of now."""
    version = version_of(root)
    for name, pattern in PLACES.items():
        found = re.findall(pattern, _text(root / name), re.MULTILINE)
        if not found:
            yield f"{name} does not say the version where it should"
        yield from (f"{name} says {each}, the code {version}" for each in found if each != version)
    before = {each["name"] for each in RELEASE.finditer(_text(root / "CHANGELOG.md"))} - {
        version,
        "Unreleased",
    }
    for name in _texts(root):
        yield from (f"{name} {fault}" for fault in _others(name, _text(root / name), version, before))


def _others(name: str, text: str, version: str, before: set[str]) -> Iterator[str]:
    for each in sorted(set(IMAGE_OR_WHEEL.findall(text)) - {version} - before):
        yield f"names the image or wheel of {each}"
    if name not in OF_BEFORE:
        plain = UPGRADING.sub("", text)
        for each in sorted(before):
            if re.search(rf"(?<![\w.]){re.escape(each)}(?![\w.]*\d)", plain):
                yield f"names {each}, which was before"


def _texts(root: Path) -> Iterator[str]:
    files = [*root.glob("*.md"), root / "compose.yaml", root / "Dockerfile"]
    files += [each for folder in ("docs", "deploy") for each in (root / folder).rglob("*")]
    for file in sorted(files):
        if file.suffix in {".md", ".yaml", ".yml", ".json", ".conf", ".cfg", ""} and file.is_file():
            yield str(file.relative_to(root))


def changelog(root: Path, today: date | None = None) -> Iterator[str]:
    """Yield what the changelog lacks of one whose newest release is this tree."""
    text, version = _text(root / "CHANGELOG.md"), version_of(root)
    releases = list(RELEASE.finditer(text))
    names = [each["name"] for each in releases]
    if names[:1] != ["Unreleased"]:
        yield "it does not begin with [Unreleased]"
        return
    if releases[0]["told"].strip():
        yield "[Unreleased] is not empty: what is released stands in a section of its own"
    if names[1:2] != [version]:
        yield f"below [Unreleased] stands {names[1:2] or 'nothing'}, not [{version}]"
    for each in releases[1:]:
        yield from _section(each, today or datetime.now(UTC).date())
    numbers = [tuple(int(part) for part in re.findall(r"\d+", name)) for name in names[1:]]
    if numbers != sorted(set(numbers), reverse=True):
        yield f"releases are not in order, newest first: {names[1:]}"


def _section(release: re.Match[str], today: date) -> Iterator[str]:
    name, told = release["name"], release["told"]
    try:
        if date.fromisoformat(release["date"] or "") > today:
            yield f"[{name}] is dated {release['date']}, which is to come"
    except ValueError:
        yield f"[{name}] is dated {release['date'] or 'by nothing'}, not as YYYY-MM-DD"
    kinds = re.findall(r"^### (.+)$", told, re.MULTILINE)
    yield from (f"[{name}] has a heading {each}" for each in kinds if each not in KINDS)
    if not re.search(r"^- ", told, re.MULTILINE):
        yield f"[{name}] says nothing"


def clean(root: Path) -> Iterator[str]:
    """Yield what differs from the commit that would be tagged, and a tag of this version on another one."""
    told = git(root, "status", "--porcelain", "--untracked-files=all")
    if told.returncode:
        yield f"git can't say: {told.stderr.strip()}"
        return
    yield from (f"not as committed: {line[3:]}" for line in told.stdout.splitlines())
    tag = f"v{version_of(root)}"
    tagged = git(root, "rev-parse", "-q", "--verify", f"{tag}^{{commit}}")
    if tagged.returncode == 0 and tagged.stdout != git(root, "rev-parse", "HEAD").stdout:
        yield f"the tag {tag} is there already, on another commit: {tagged.stdout.strip()}"


def git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Ask git about a tree; what it says goes by its exit code."""
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def pages(root: Path) -> Iterator[str]:
    """Yield each generated page that is not what the code says."""
    made = {
        documentation.PAGE: (documentation.configuration(), "tests.documentation"),
        documentation.METRICS_PAGE: (documentation.metrics(), "tests.documentation"),
        architecture.PAGE: (architecture.architecture(), "tests.architecture"),
        reference.PAGE: (reference.commands(), "tests.reference"),
        MATRIX: (matrix(listed(), kept()), "tests.matrix --page"),
        **{path: (text, "tests.wire_format") for path, text in wire_format.written().items()},
    }
    for path, (text, module) in made.items():
        name = path.relative_to(ROOT)
        if _text(root / name) != text:
            yield f"{name} is not what the code says: python -m {module}"


def links(root: Path) -> Iterator[str]:
    """Yield each link to a file or a heading that is not there; links to elsewhere are not followed."""
    for page in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
        for target, anchor in LINK.findall(QUOTED.sub("", BLOCK.sub("", _text(page)))):
            there = (page.parent / target).resolve() if target else page
            if not there.exists():
                yield f"{page.relative_to(root)} leads to {target}, which is not there"
            elif anchor and there.suffix == ".md" and anchor not in anchors(_text(there)):
                yield f"{page.relative_to(root)} leads to {target}#{anchor}, which no heading is"


def anchors(text: str) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub makes it."""
    found, times = set(), Counter[str]()
    for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{name}-{times[name]}" if times[name] else name)
        times[name] += 1
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
