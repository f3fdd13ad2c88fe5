"""The page of a run: its size, and how long a browser takes until it answers.

    python benchmarks/page.py RUN...

For each run folder: seconds to write the page, its size, and of a headless Chromium the time from the start of
navigation until a move of the network's slider was answered and painted, wall-clock time and processor time of the
page's main thread: median (lowest to highest) of five loads, each in a new browser. Then every figure is drawn, and
what the console complained of is shown. The run folders that docs/performance.md is about:

    python -m netsim run scenarios/crema_12dev.yaml
    python benchmarks/page.py --thousand FOLDER      # makes 1,000 devices that send 10,000 messages a round
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from browser import tab

import netsim
from analysis.page.write import write_page

LOADS = 5
THOUSAND = """
rounds: 20
devices: {count: 1000, battery: {capacity_j: 1000}}
topology: {placement: {name: disc, diameter_m: 2000}, links: {name: regular, degree: 10}}
learner: {name: stub}
"""
WATCH = """
window.answered = new Promise((done) => {
  const look = () => {
    const slider = document.querySelector("input[data-network]");
    const plot = slider && document.getElementById(slider.dataset.network);
    if (!plot || !plot.data) return setTimeout(look, 5);
    const ready = performance.now();
    plot.once("plotly_afterplot", () => requestAnimationFrame(() => setTimeout(
      () => done({ ready, answered: performance.now() }))));
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input"));
  };
  look();
});
"""
DRAW = """
(async () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const plot of document.querySelectorAll(".plot")) {
    plot.scrollIntoView();
    for (let wait = 0; wait < 1000 && !plot.data; wait++) await new Promise((done) => setTimeout(done, 10));
  }
  return [...document.querySelectorAll(".plot")].filter((plot) => !plot.data).length;
})()
"""


def load(page: Path) -> tuple[float, float, float, list[str]]:
    """Open a page; return seconds until figures were there, until the slider was answered, processor time, problems."""
    with tab() as one:
        one.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        one.ask("Page.navigate", url=page.as_uri())
        told = one.value("window.answered")
        processor_s = one.processor_s()
        missing = one.value(DRAW)
        problems = [*one.problems, *([f"{missing} figures are not drawn"] if missing else [])]
    return told["ready"] / 1e3, told["answered"] / 1e3, processor_s, problems


def spread(values: list[float]) -> str:
    """Return median (lowest to highest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Print a table, a row a run."""
    parser = argparse.ArgumentParser(description="Size of pages, and time until they answer.")
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--thousand", type=Path, metavar="FOLDER", help="make the large run there, too")
    asked = parser.parse_args()
    folders = list(asked.runs)
    if asked.thousand:
        asked.thousand.mkdir(parents=True, exist_ok=True)
        (asked.thousand / "thousand.yaml").write_text(THOUSAND)
        folders.append(netsim.run(asked.thousand / "thousand.yaml", runs=asked.thousand, quiet=True).folder)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(
        "| run | transfers | writing [s] | size [MB] | figures [s] | slider answered [s] | processor [s] | console |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for path in folders:
            run = netsim.load(path)
            begin_s = time.process_time()
            page = write_page([run], Path(folder) / "page.html")
            written_s = time.process_time() - begin_s
            ready, answered, processor, problems = zip(*(load(page) for _ in range(LOADS)), strict=True)
            complaints = sorted({text for own in problems for text in own})
            print(
                f"| {run.name}, {len(run.devices):,} devices, {run.rounds['round'].nunique()} rounds "
                f"| {len(run.transfers):,} | {written_s:.1f} | {page.stat().st_size / 1e6:.1f} "
                f"| {spread(list(ready))} | {spread(list(answered))} | {spread(list(processor))} "
                f"| {'; '.join(complaints) or 'nothing'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
