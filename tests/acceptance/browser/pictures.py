"""Takes the pictures of the docs from a fleet at work: `python -m tests.acceptance.browser.pictures`.

Orders flow for `--minutes` before, so that the lines of the last hour are as long as that. It needs a
Chromium on PATH.
"""

import argparse
import io
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.acceptance.browser.browsing import chromium, chromium_found, window
from tests.acceptance.browser.scene import FILLED, Scene, staged
from tests.harness import Deployment, eventually, sample_orders
from tests.servers import started
from worker.bootstrap.commands import migrate

IMAGES = Path(__file__).parents[3] / "docs" / "images"
WIDTH, HEIGHT = 1200, 1600
MOST_BYTES = 150_000
# By name: the page, and whether it is dark.
PICTURES = {
    "fleet-light": ("/", False),
    "fleet-dark": ("/", True),
    "order": (f"/orders/{FILLED}", False),
    "dead-letters": ("/dead", False),
}


def main() -> int:
    """Take each picture whose page there is; 1 where there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long orders flow before (default 5)")
    minutes = parser.parse_args().minutes
    program = chromium_found()
    if program is None:
        sys.stderr.write("no Chromium is on PATH\n")
        return 1
    with tempfile.TemporaryDirectory() as folder, fleet(Path(folder)) as scene, chromium(program) as browser:
        flow(scene, 60 * minutes)
        with scene.third() as third:
            eventually(partial(is_shown, scene, f"-{third.pid}-"))
            third.signal(signal.SIGKILL)
            eventually(partial(is_shown, scene, "state-gone"))
            for name, (path, dark) in PICTURES.items():
                status, _ = scene.plain.get(path)
                if status == 200:
                    take(browser, scene, name, path, dark=dark)
    return 0


@contextmanager
def fleet(folder: Path) -> Iterator[Scene]:
    """Start servers of this machine, and a fleet."""
    with started("embedded", folder) as servers, Deployment(servers, "orders", "postgres") as deployment:
        migrate(deployment.settings())
        with staged(deployment, folder) as scene:
            # What is shown is looked at for the first time.
            eventually(lambda: scene.plain.get("/")[0] == 200)
            yield scene


def is_shown(scene: Scene, text: str) -> bool:
    """Whether the page of the fleet has come to hold that."""
    return text.encode() in scene.plain.get("/")[1]


def flow(scene: Scene, seconds: float) -> None:
    """Send orders for a while, more and fewer of them by turns."""
    samples, number, began = sample_orders(), 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        count = 12 + round(10 * math.sin(passed / 40))
        orders = [
            {**samples[i % len(samples)], "order_id": f"flow-{began:.0f}-{i}"}
            for i in range(number, number + count)
        ]
        scene.deployment.submit(orders)
        number += count
        time.sleep(1)


def take(browser: Browser, scene: Scene, name: str, path: str, *, dark: bool) -> None:
    """Write one picture, of few colours, so that it stays small."""
    with window(browser, f"http://127.0.0.1:{scene.plain.port}", width=WIDTH, dark=dark) as page:
        page.resize(WIDTH)
        page.open(path)
        shot = page.page.screenshot(full_page=True)
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    few = picture.crop((0, 0, WIDTH, min(picture.height, HEIGHT))).quantize(256, dither=Image.Dither.NONE)
    file = IMAGES / f"{name}.png"
    few.save(file, optimize=True)
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{file.name} has {size:,} bytes, more than {MOST_BYTES:,}")
    sys.stdout.write(f"{file.name}: {size:,} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
