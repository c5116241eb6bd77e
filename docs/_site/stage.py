"""Prepares for the site the pages that are read on GitHub as they are: `python docs/_site/stage.py FOLDER`.

Pages link to code and to the pages beside `docs/`. On the site each such file is a page of its own, and a
folder is a list. Diagrams are drawn while the site is built: a reader's browser loads nothing from elsewhere.
"""

import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from zlib import crc32

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
# Pages beside docs/, and where they are on the site.
BESIDE = {
    "README.md": "project/README.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
}
LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".lua": "lua",
    ".yaml": "yaml",
    ".jsonl": "json",
    ".json": "json",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
LIST_ITEM = re.compile(r"[-*] |\d+\. ")


def main() -> None:
    """Write the pages of the site, and all that they show or link to, into the folder that is named."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / DOCS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for uri, text in pages().items():
        place = folder / uri
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the text of each page by its place on the site."""
    paths = [*(str(each.relative_to(ROOT)) for each in sorted((ROOT / DOCS).rglob("*.md"))), *BESIDE]
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
    linked = {target for path, text in texts.items() for target in targets(path, text)}
    code = [path for path in sorted(linked - texts.keys()) if not as_it_is(path)]
    return {on_site(path): page(path, text) for path, text in texts.items()} | {
        on_site(path): shown(path, linked) for path in code
    }


def page(path: str, text: str) -> str:
    """Return a page as the site has it: links lead to where things are on it, diagrams are drawn."""
    changed = outside_fences(text, lambda part: as_github_reads(LINK.sub(lambda link: led(path, link), part)))
    return MERMAID.sub(lambda fence: drawn(fence[1], path), changed)


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Change all of a page but its fenced blocks."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def targets(path: str, text: str) -> Iterator[str]:
    """Yield what a page links to, as paths from the root of the project."""
    found: list[str] = []

    def note(part: str) -> str:
        found.extend(_target(path, link[1]) for link in LINK.finditer(part))
        return part

    outside_fences(text, note)
    yield from found


def led(path: str, link: "re.Match[str]") -> str:
    """Return a link of a page as it is on the site."""
    there = on_site(_target(path, link[1]))
    return posixpath.relpath(there, posixpath.dirname(on_site(path)) or ".") + (link[2] or "")


def _target(path: str, link: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    if target.startswith(f"{DOCS}/") and (ROOT / target).is_dir():
        return f"{target}/README.md"
    return target


def as_it_is(target: str) -> bool:
    """Whether the site has a file where docs/ has it: all but its code."""
    return target.startswith(f"{DOCS}/") and not target.endswith(".py")


def on_site(target: str) -> str:
    """Return where a file of the project is on the site."""
    if as_it_is(target):
        return target.removeprefix(f"{DOCS}/")
    if target in BESIDE:
        return BESIDE[target]
    return f"source/{target}/index.md" if (ROOT / target).is_dir() else f"source/{target}.md"


def shown(path: str, linked: set[str]) -> str:
    """Return the page of a file or a folder: searches pass it over."""
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    place = ROOT / path
    if place.is_dir():
        names = sorted(
            each.name for each in place.iterdir() if not each.name.startswith(("__pycache__", "."))
        )
        rows = [_row(f"{path}/{name}", path, linked) for name in names]
        return head + "".join(rows)
    language = LANGUAGES.get(place.suffix, "text")
    return f"{head}``````{language}\n{place.read_text(encoding='utf-8').rstrip()}\n``````\n"


def _row(path: str, folder: str, linked: set[str]) -> str:
    name = posixpath.basename(path)
    if path not in linked:
        return f"- `{name}`\n"
    return f"- [`{name}`]({posixpath.relpath(on_site(path), f'source/{folder}')})\n"


def as_github_reads(text: str) -> str:
    """Part lists and tables from the sentence before them, as GitHub does by itself."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        begins_list = (
            LIST_ITEM.match(line)
            and before
            and not LIST_ITEM.match(before.lstrip())
            and not before.startswith(" ")
        )
        begins_table = line.startswith("|") and before and not before.startswith("|")
        if begins_list or begins_table:
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def drawn(source: str, path: str) -> str:
    """Return a diagram as an SVG that stands in the page."""
    svg: str = import_module("mermaidx").render(source, theme="neutral").svg()
    # The rules of style of a diagram name its id; two of a page must not share it.
    name = f"diagram-{crc32(f'{path} {source}'.encode()):x}"
    return f'<div class="diagram">{" ".join(svg.replace("my-svg", name).splitlines())}</div>'


if __name__ == "__main__":
    main()
