"""A headless Chromium, and what one of its windows is asked about whatever page it shows."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, Page, Request, Response, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The width of a small telephone.
NARROW, WIDE = 375, 1400
ABANDONED = "net::ERR_ABORTED"
# What is reached by Tab, in the order of the document.
REACHABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary"
FOCUSED = """() => {
  const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
  return {
    number: [...document.querySelectorAll(%s)].indexOf(it),
    text: (it.innerText || it.name || it.tagName).trim(),
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.height > 0 && box.right > 0 && box.left < innerWidth,
  };
}"""


@dataclass
class Window:
    """One window, and what it complained of: on the console, by exceptions, by requests without an answer."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Show a page of the replica."""
        self.page.goto(self.address + path)

    def text(self, selector: str = "main") -> str:
        """Return what is to be read there."""
        return self.page.locator(selector).inner_text()

    def ask(self, script: str, argument: object = None) -> Any:
        """Return what a script says of the page: it runs beside it, whatever the page allows its own."""
        return self.page.evaluate(script, argument)

    def resize(self, width: int) -> None:
        """Make the window as wide as that."""
        self.page.set_viewport_size({"width": width, "height": 900})

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.ask("document.scrollingElement.scrollWidth - innerWidth"))

    def findings(self) -> list[str]:
        """Return what axe finds that is serious or worse: the rule, and where."""
        self.ask(_axe())
        found = self.ask("axe.run({resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
            for node in each["nodes"]
        ]

    def tab_through(self) -> list[dict[str, Any]]:
        """Press Tab from the beginning of the page until everything had the focus that can have it."""
        count = self.page.locator(REACHABLE).filter(visible=True).count()
        self.ask("document.activeElement.blur()")
        steps = []
        for _ in range(count):
            self.page.keyboard.press("Tab")
            steps.append(self.ask(FOCUSED % json.dumps(REACHABLE)))
        return steps


def chromium_found() -> str | None:
    """Return the path of the Chromium of this machine, None where there is none."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """Start a Chromium without a screen."""
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(
    browser: Browser,
    address: str,
    *,
    width: int = WIDE,
    dark: bool = False,
    scripts: bool = True,
    stands_still: bool = False,
) -> Iterator[Window]:
    """Open a window that shares no cookie with others; time may stand still until it is told to pass."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(20_000)
    if stands_still:
        context.clock.install()
    opened = Window(context.new_page(), address)
    _listen(opened)
    try:
        yield opened
    finally:
        context.close()


def _listen(opened: Window) -> None:
    page, said = opened.page, opened.complaints.append

    def failed(request: Request) -> None:
        # Whoever leaves a page gives up what it was asking for.
        if request.failure != ABANDONED:
            said(f"{request.failure}: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            said(f"{response.status}: {response.url}")

    page.on("console", lambda each: said(f"console: {each.text}"))
    page.on("pageerror", lambda each: said(f"exception: {each}"))
    page.on("requestfailed", failed)
    page.on("response", answered)


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
