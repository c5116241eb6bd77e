"""The site of docs/: each page is in it, each link leads somewhere, and nothing comes from elsewhere."""

import posixpath
import re
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from tests.processes import ROOT

SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAVIGATION = re.findall(r"(?:^|[\s-])([\w/-]+\.md)$", SETTINGS.partition("\nnav:\n")[2], re.MULTILINE)


@pytest.fixture(scope="module")
def stage() -> Any:
    """The script that prepares the pages, without what draws diagrams."""
    spec = spec_from_file_location("stage", ROOT / "docs" / "_site" / "stage.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.drawn = lambda _source, path: f"<div>a diagram of {path}</div>"
    return module


@pytest.fixture(scope="module")
def pages(stage: Any) -> dict[str, str]:
    found: dict[str, str] = stage.pages()
    return found


def test_navigation_has_each_page_once() -> None:
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}

    assert sorted(NAVIGATION) == sorted(written), "mkdocs.yml has the navigation"


def test_index_of_decisions_names_each_by_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")

    titles = {path.name: path.read_text(encoding="utf-8").partition("\n")[0] for path in folder.glob("0*.md")}
    rows = {
        name: f"| [{name[:4]}]({name}) | {re.sub(r'^# ([0-9]+[.] )?', '', title)} |"
        for name, title in titles.items()
    }

    assert [name for name, row in rows.items() if row not in index] == []


def test_links_lead_to_what_is_on_the_site(stage: Any, pages: dict[str, str]) -> None:
    lost = []
    for uri, text in pages.items():
        for link in stage.LINK.finditer(stage.FENCE.sub("", text)):
            there = posixpath.normpath(posixpath.join(posixpath.dirname(uri), link[1]))
            copied = (ROOT / "docs" / there).is_file() and not there.endswith(".py")
            if there not in pages and not copied:
                lost.append((uri, link[1]))

    assert len(pages) > 100
    assert lost == []


def test_code_that_is_linked_to_is_shown(pages: dict[str, str]) -> None:
    source = (ROOT / "worker" / "consumer" / "loop.py").read_text(encoding="utf-8").rstrip()

    assert f"python\n{source}\n" in pages["source/worker/consumer/loop.py.md"]
    assert "- [`loop.py`](../loop.py.md)" not in pages["source/worker/consumer/index.md"]
    assert "- [`loop.py`](loop.py.md)" in pages["source/worker/consumer/index.md"]


def test_diagrams_are_drawn_and_other_fences_stay_as_they_are(stage: Any, pages: dict[str, str]) -> None:
    drawn = [uri for uri, text in pages.items() if "<div>a diagram of" in text]

    assert {"architecture.md", "life-of-a-delivery.md"} <= set(drawn)
    assert [
        uri for uri, text in pages.items() if "```mermaid" in text and not uri.startswith("source/")
    ] == []
    fenced = "a\n```text\n[x](../worker)\n- no list\n```\nb"
    assert stage.page("docs/x.md", fenced) == fenced


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Two:\n- a\n- b\n  c\n", "Two:\n\n- a\n- b\n  c\n"),
        ("Steps:\n1. a\n2. b", "Steps:\n\n1. a\n2. b"),
        ("Text\n| a |\n|---|\n| b |", "Text\n\n| a |\n|---|\n| b |"),
        ("- a\n  - b\n- c", "- a\n  - b\n- c"),
    ],
)
def test_lists_and_tables_are_told_from_the_sentence_before_them(stage: Any, written: str, read: str) -> None:
    assert stage.as_github_reads(written) == read


def test_nothing_is_loaded_from_elsewhere() -> None:
    scripts = [
        path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "_site").iterdir() if path.is_file()
    ]

    assert "font: false" in SETTINGS
    assert "polyfills: [_site/iframe-worker.js]" in SETTINGS
    assert re.findall(r"^[^#]*https?://", SETTINGS, re.MULTILINE) == []
    assert not any(re.search(r"(?:src=|url\(|import\()[\"']?https?:", text) for text in scripts)
