"""The page of a run: one file, its numbers those of the run, its figures drawn by a browser without complaints."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from run_folders import accuracy, device, simulate

from analysis import Run, load_run
from analysis.page import course, curves, spending
from analysis.page.network import network
from analysis.page.write import FIGURES, write_page
from analysis.plots import accuracy_figure
from analysis.tables import accuracy_by_round, energy_by_category

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LOOK = """
<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(event.message));
console.error = (...words) => window.problems.push(words.join(" "));
</script>
"""
MOVE = """
<script>
const seen = {};
for (const plot of document.querySelectorAll(".plot")) plot.scrollIntoView();
setTimeout(() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const slider = document.querySelector("input[data-network]");
  const marks = () => document.getElementById(slider.dataset.network).data.find((t) => t.marker && t.marker.cmax);
  seen.before = marks().marker.color;
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  seen.after = marks().marker.color;
  const choice = document.querySelector("input[type=radio][value=energy]");
  choice.checked = true;
  choice.dispatchEvent(new Event("change"));
  seen.energy = document.getElementById(choice.dataset.figure).data.find((t) => t.name === "fused").x;
  seen.accuracy = document.getElementById(choice.dataset.figure).data.find((t) => t.name === "fused").y;
  seen.drawn = [...document.querySelectorAll(".plot")].filter((plot) => plot.data).length;
  seen.plots = document.querySelectorAll(".plot").length;
  seen.problems = window.problems;
  const told = document.createElement("pre");
  told.id = "seen";
  told.textContent = JSON.stringify(seen);
  document.body.appendChild(told);
}, 3000);
</script>
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(simulate(tmp_path_factory.mktemp("page") / "runs" / "tiny" / "a", rounds=20))


def in_browser(page: Path, look: str = LOOK, move: str = MOVE) -> dict[str, Any]:
    """What a browser sees of a page when its slider is moved and a choice is made."""
    text = page.read_text().replace("<head>", f"<head>{look}", 1).replace("</body>", f"{move}</body>")
    copy = page.with_name("copy.html")
    copy.write_text(text)
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    words += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=6000"]
    words += [f"--user-data-dir={page.parent / 'browser'}", "--window-size=1300,9000", "--dump-dom"]
    done = subprocess.run([*words, f"file://{copy}"], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    return json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_draws_every_figure_and_its_slider_and_choices_work(run: Run, tmp_path: Path) -> None:
    seen = in_browser(write_page([run], tmp_path / "page.html"))
    assert seen["problems"] == []
    assert seen["drawn"] == seen["plots"] >= 8
    assert set(seen["before"]) == {100}, "batteries are full in the beginning"
    left = run.spending.groupby("device")["battery_j"].last() / run.devices.set_index("device")["battery_j"]
    assert seen["after"] == pytest.approx(100 * left.to_numpy(), rel=1e-4, abs=1e-3)
    fused = accuracy_by_round(run).query("modality == 'fused'")
    assert seen["accuracy"] == pytest.approx(100 * fused["mean"].to_numpy(), rel=1e-4)
    assert seen["energy"] == pytest.approx(fused["energy_j"].to_numpy() / 1e3, rel=1e-4)  # in kilojoules


def test_every_figure_is_one_that_plotly_accepts(run: Run) -> None:
    figures = [figure for figure in (draw(run) for draw in FIGURES) if figure is not None]
    assert len(figures) >= 6
    for figure in figures:
        go.Figure({"data": figure.traces, "layout": figure.layout})


def test_the_bars_of_energy_add_up_to_what_was_spent(run: Run) -> None:
    figure = spending.by_device(run)
    assert figure is not None
    total = np.sum([trace["y"] for trace in figure.traces], axis=0)
    assert total * 1e3 == pytest.approx(energy_by_category(run)["total_j"].to_numpy(), rel=1e-3)


def test_what_somebody_wrote_into_a_scenario_stays_text(make_run: Callable[..., Run], tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    run = make_run(
        devices=[device(0, modalities=bad)],
        rounds=[{"round": 1, "device": 0, "end_s": 5.0, "compute_j": 1.0, "outcome": "finished"}],
        metrics=[accuracy(1, 0, 0.5, modality=bad), accuracy(1, 0, 0.5) | {"name": bad}],
        metadata={"scenario": bad, "learner": bad, "metrics": {bad: bad}, "versions": {bad: bad}},
        scenario={"description": bad},
    )
    text = write_page([run], tmp_path / "page.html").read_text()
    assert bad not in text and "<img src=x" not in text
    assert text.count("<script") == 3


HARM = (
    "<script>window.harm = 1</script>",
    "</script><script>window.harm = 1</script>",
    "<img src=x onerror='window.harm = 1'>",
    '"><svg onload=window.harm=1>',
    "'><iframe srcdoc='<script>parent.harm = 1</script>'></iframe>",
    "</style></title></textarea><img src=x onerror=window.harm=1>",
    "<a href='javascript:window.harm=1'>x</a>",
    "${window.harm=1}{{window.harm=1}}",
)
TELL = """
<script>
for (const details of document.querySelectorAll("details")) details.open = true;
setTimeout(() => {
  for (const link of document.querySelectorAll("a")) link.click();
  const told = document.createElement("pre");
  told.id = "seen";
  told.textContent = JSON.stringify({harm: window.harm || 0, plots: document.querySelectorAll(".plot svg").length});
  document.body.appendChild(told);
}, 3000);
</script>
"""


def harmful(folder: Path, name: str) -> Path:
    """Copy a run's folder, and put something that would do harm, were it not text, wherever it has text."""
    copy = folder.with_name(name)
    shutil.copytree(folder, copy)
    harm = itertools.cycle(HARM)

    def harmed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: harmed(one) for key, one in value.items()} | {next(harm): next(harm)}
        if isinstance(value, list):
            return [*map(harmed, value), next(harm)]
        return next(harm) if isinstance(value, str) else value

    for file in copy.glob("*.parquet"):
        table = pd.read_parquet(file)
        for column in table.select_dtypes(["object", "string"]):
            known = ["finished", "died", "delivered", "outage"]
            put = [
                one if one in known and place % 2 else next(harm) for place, one in enumerate(table[column])
            ]
            table[column] = put
        table.to_parquet(file)
    metadata = json.loads((copy / "metadata.json").read_text())
    words = {
        "notes": "",
        "metrics": {"accuracy": ""},
        "hardware": {"machine": ""},
        "versions": {"a": ""},
        "commit": "",
    }
    (copy / "metadata.json").write_text(json.dumps(harmed(words | metadata)))
    (copy / "summary.json").write_text(json.dumps(harmed({"notes": [""]})))
    settings = yaml.safe_load((copy / "scenario.yaml").read_text())
    (copy / "scenario.yaml").write_text(yaml.safe_dump(harmed({"name": "", "description": "", **settings})))
    return copy


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_runs_nothing_that_stands_in_a_run_folder(run: Run, tmp_path: Path) -> None:
    """Of one run, of several compared, and of a run whose folder itself is called so; as text it does run."""
    small = simulate(tmp_path / "small" / "a", count=4, rounds=3)
    folders = [harmful(small, name) for name in ("b", "<img src=x onerror=window.harm=1>")]
    metadata = json.loads((folders[1] / "metadata.json").read_text())
    (folders[1] / "metadata.json").write_text(json.dumps(metadata | {"seed": 2}))
    pages = [
        write_page([load_run(folder) for folder in chosen], tmp_path / f"{place}.html")
        for place, chosen in enumerate((folders[:1], folders[1:], folders))
    ]
    for page in pages:
        text = page.read_text()
        assert "window.harm" in text
        seen = in_browser(page, "", TELL)
        assert seen["harm"] == 0 and seen["plots"] > 0
    raw = tmp_path / "raw.html"
    raw.write_text(f"<head></head><body>{HARM[2]}</body>")
    assert in_browser(raw, "", TELL)["harm"] == 1


def test_who_does_what_when_by_hand(make_run: Callable[..., Run]) -> None:
    """Device 0 computes 4 s, sends 2 s and waits 1 s; device 1 dies after 3 s of computing and stays dead."""
    run = make_run(
        rounds=[
            {
                "round": 1,
                "device": 0,
                "end_s": 7.0,
                "compute_s": 4.0,
                "compute_end_s": 4.0,
                "outcome": "finished",
            },
            {
                "round": 1,
                "device": 1,
                "end_s": 3.0,
                "compute_s": 3.0,
                "compute_end_s": float("nan"),
                "outcome": "died",
            },
        ],
        transfers=[
            {
                "round": 1,
                "kind": "model",
                "sender": 0,
                "receiver": 1,
                "start_s": 4.0,
                "end_s": 6.0,
                "outcome": "delivered",
            }
        ],
    )
    found = course.periods(run)
    rows = {(row.state, row.device): (row.start_s, row.end_s) for row in found.itertuples()}
    assert rows == {
        ("waiting", 0): (0.0, 7.0),
        ("waiting", 1): (0.0, 3.0),
        ("computing", 0): (0.0, 4.0),
        ("computing", 1): (0.0, 3.0),
        ("sending", 0): (4.0, 6.0),
        ("dead", 1): (3.0, 7.0),
    }


def test_a_link_has_the_rate_of_its_transfers_since_the_moment_before(make_run: Callable[..., Run]) -> None:
    """Of 10 s there are 60 parts; 3 Mbit in 1.5 s that end at 5 s are 2 Mbit/s in part 30, and nothing elsewhere."""
    sent = {
        "kind": "model",
        "start_s": 3.5,
        "end_s": 5.0,
        "airtime_s": 1.5,
        "sent_bits": 3e6,
        "outcome": "delivered",
    }
    run = make_run(
        links=[{"a": 0, "b": 1, "distance_m": 10.0}],
        rounds=[
            {"round": 1, "device": k, "end_s": 10.0, "compute_j": 5.0, "outcome": "finished"} for k in (0, 1)
        ],
        transfers=[sent | {"round": 1, "sender": 1, "receiver": 0}],
    )
    drawn = network(run)
    assert drawn is not None
    rates = [row[0] for row in drawn["rates"]]
    assert rates[30] == 2.0 and rates.count(None) == 60
    assert drawn["values"][0] == [0.0, 0.0] and drawn["values"][-1] == [5.0, 5.0]


def test_a_large_run_is_drawn_as_shares_and_says_so(make_run: Callable[..., Run]) -> None:
    count = 1000
    run = make_run(
        devices=[device(k) for k in range(count)],
        rounds=[
            {
                "round": t,
                "device": k,
                "outcome": "finished",
                "start_s": 10.0 * t - 10,
                "end_s": 10.0 * t,
                "compute_s": 5.0,
                "compute_end_s": 10.0 * t - 5,
                "compute_j": 1.0,
            }
            for t in range(1, 5)
            for k in range(count)
        ],
        metrics=[accuracy(t, k, 0.5) for t in range(1, 5) for k in range(count)],
    )
    figure = course.course(run)
    assert figure is not None and "too many to be drawn one by one" in figure.says
    shares = {trace["name"]: np.array(trace["y"]) for trace in figure.traces}
    assert shares["computing"].mean() == pytest.approx(50, abs=1)
    assert shares["computing"] + shares["waiting"] == pytest.approx(np.full(400, 100.0))
    curve = curves.accuracy(run)
    assert curve is not None and not any(
        "each device" in trace.get("legendgroup", "") for trace in curve.traces
    )


def test_devices_are_drawn_where_they_were(make_run: Callable[..., Run]) -> None:
    """Device 0 stands at 0 m, is at 3 m from 4 s on and at 7 m from 8 s on; of 10 s there are 61 moments."""
    walked = [{"device": 0, "time_s": t, "x_m": x, "y_m": 0.0} for t, x in ((4.0, 3.0), (8.0, 7.0))]
    run = make_run(rounds=[{"round": 1, "device": 0, "end_s": 10.0, "compute_j": 1.0, "outcome": "finished"}])
    drawn = network(replace(run, positions=pd.DataFrame(walked)))
    assert drawn is not None and drawn["positions"] is not None
    ways = [place["x"][0] for place in drawn["positions"]]
    assert (ways.count(0.0), ways.count(3.0), ways.count(7.0)) == (24, 24, 13)
    still = network(run)
    assert still is not None and still["positions"] is None


def test_a_modality_has_the_colour_that_it_has_in_the_plots(run: Run) -> None:
    figure = curves.accuracy(run)
    assert figure is not None
    drawn = {
        trace["name"]: trace["line"]["color"] for trace in figure.traces if trace.get("line", {}).get("dash")
    }
    plotted = accuracy_figure(run)
    assert plotted is not None
    lines = {str(line.get_label()): line.get_color() for line in plotted.axes[0].lines}
    assert lines.keys() == {"fused", "audio", "visual"} and lines == {name: drawn[name] for name in lines}
