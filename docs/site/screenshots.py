"""Makes the screenshots of the documentation: python docs/site/screenshots.py RUN, with Chromium installed.

RUN is the folder of a run of scenarios/crema_12dev.yaml.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import netsim
from analysis.page.write import write_page

FIGURES = Path(__file__).parents[1] / "figures"
WIDTH, HEIGHT = 1300, 2300
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000"),
)


def shoot(page: Path, image: Path, height: int) -> None:
    """Write what a browser shows of ``page`` into ``image``, ``height`` pixels of it, in 128 colours."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("needs Chromium")
    with tempfile.TemporaryDirectory() as profile:
        words = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}"]
        subprocess.run([*words, f"--screenshot={image}", f"file://{page}"], check=True, capture_output=True)
    Image.open(image).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(image, optimize=True)


def middle(page: Path, into: Path) -> Path:
    """Return a copy of a page whose sliders stand in the middle: the network at work, not before the first round."""
    text = page.read_text(encoding="utf-8").replace('value="0" step="1"', 'value="30" step="1"')
    into.write_text(text, encoding="utf-8")
    return into


def main() -> None:
    """Write the screenshots."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/site/screenshots.py RUN")
    with tempfile.TemporaryDirectory() as folder:
        page = write_page([netsim.load(sys.argv[1])], Path(folder) / "page.html")
        shoot(middle(page, Path(folder) / "middle.html"), FIGURES / "report.png", HEIGHT)


if __name__ == "__main__":
    main()
