"""Figures say what they must, and no run is too poor to draw."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from run_folders import accuracy, device, simulate

from analysis import Run, load_run, save_plots, tables
from analysis.plots import (
    FIGURES,
    accuracy_figure,
    anatomy_figure,
    iterations_figure,
    metrics_figure,
    network_figure,
    transfers_figure,
)
from analysis.plots.labels import offsets
from analysis.plots.style import STYLE
from analysis.plots.transfers import not_within

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(simulate(tmp_path_factory.mktemp("runs") / "crema_d" / "1", rounds=25, count=5))


def test_a_full_run_gets_every_figure_as_png(full: Run) -> None:
    before = dict(matplotlib.rcParams)
    written = save_plots(full)
    assert [path.name for path in written] == [f"{name}.png" for name in FIGURES]
    assert all(path.parent == full.folder / "plots" for path in written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("draw", [accuracy_figure, iterations_figure])
def test_figures_of_learning_on_surrogate_data_say_so(full: Run, draw: Callable[[Run], Figure]) -> None:
    assert "SURROGATE DATA" in draw(full).get_suptitle()


def test_figures_of_learning_on_real_data_say_nothing(make_run: MakeRun) -> None:
    run = make_run(metrics=[accuracy(1, 0, 0.5)], metadata={"data": {"name": "crema_d", "surrogate": False}})
    figure = accuracy_figure(run)
    assert figure is not None and figure.get_suptitle() == ""


def test_accuracy_is_drawn_over_rounds_hours_and_joules(make_run: MakeRun) -> None:
    run = make_run(
        devices=[device(0)],
        rounds=[
            {"round": t, "device": 0, "start_s": 7200.0 * (t - 1), "end_s": 7200.0 * t, "compute_j": 2000.0}
            for t in (1, 2)
        ],
        metrics=[accuracy(1, 0, 0.25, time_s=7200.0), accuracy(2, 0, 0.5, time_s=14400.0)],
    )
    figure = accuracy_figure(run)
    assert figure is not None
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["Round", "Simulated time [h]", "Energy per device [kJ]"]
    lines = [axes.get_lines()[0].get_xydata() for axes in figure.axes]
    assert [[tuple(point) for point in line] for line in lines] == [
        [(1, 25), (2, 50)],
        [(2, 25), (4, 50)],
        [(2, 25), (4, 50)],
    ]


def test_a_learner_that_learns_nothing_gets_no_figure_of_learning(make_run: MakeRun) -> None:
    run = make_run(rounds=[{"round": 1, "device": 0, "end_s": 1.0, "idle_s": 1.0, "outcome": "finished"}])
    assert [path.stem for path in save_plots(run)] == ["anatomy", "network"]


def test_a_run_that_has_only_begun_gets_its_map(make_run: MakeRun) -> None:
    assert [path.stem for path in save_plots(make_run())] == ["network"]


def test_the_dead_are_crossed_out_and_unlimited_power_is_no_obstacle(make_run: MakeRun) -> None:
    died = {"round": 1, "device": 0, "outcome": "died", "compute_j": 5.0, "battery_j": 0.0, "end_s": 9.0}
    mixed = make_run(devices=[device(0, battery_j=5.0), device(1)], rounds=[died])
    figure = network_figure(mixed)
    assert figure is not None
    assert figure.axes[1].get_ylabel() == "Energy spent [J]"
    crosses = figure.axes[0].collections[-1].get_offsets()
    assert [tuple(point) for point in crosses] == [(0.0, 0.0)]
    anatomy = anatomy_figure(mixed)
    assert anatomy is not None and "†" in [text.get_text() for text in anatomy.axes[0].texts]
    on_battery = make_run("battery", devices=[device(0, 5.0), device(1, 10.0, "")], rounds=[died])
    figure = network_figure(on_battery)
    assert figure is not None and figure.axes[1].get_ylabel() == "Battery left [%]"


def test_only_owners_of_a_modality_count_for_its_iterations(make_run: MakeRun) -> None:
    run = make_run(
        devices=[device(0), device(1, modalities="audio")],
        rounds=[
            {"round": 1, "device": 0, "iterations_audio": 30, "iterations_visual": 34},
            {"round": 1, "device": 1, "iterations_audio": 20, "iterations_visual": 0},
        ],
    )
    figure = iterations_figure(run)
    assert figure is not None
    means = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].get_lines()}
    assert means == {"audio": 25.0, "visual": 34.0}


def test_who_was_not_chosen_has_no_iterations_rather_than_none(make_run: MakeRun) -> None:
    """Two of three compute 8 steps each, the third was not asked: mean 8, not 5.3, and no band to explain."""
    asked = {"round": 1, "outcome": "finished", "flops": 1.0, "received": 1, "iterations_audio": 8}
    rounds = [asked | {"device": k} for k in (0, 1)] + [{"round": 1, "device": 2, "outcome": "idle"}]
    run = make_run(devices=[device(k, modalities="audio") for k in range(3)], rounds=rounds)
    figure = iterations_figure(run)
    assert figure is not None
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [8.0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["audio"]


@pytest.mark.parametrize(("values", "legend"), [((0.5, 0.5), []), ((0.4, 0.6), ["lowest to highest device"])])
def test_a_band_is_explained_where_one_is_drawn(
    values: tuple[float, ...], legend: list[str], make_run: MakeRun
) -> None:
    """Where there is one prediction it is nowhere called fused."""
    figure = accuracy_figure(make_run(metrics=[accuracy(t, k, values[k]) for t in (1, 2, 3) for k in (0, 1)]))
    assert figure is not None
    assert [text.get_text() for shown in figure.legends for text in shown.get_texts()] == legend


def ticks(axis: Any) -> list[str]:
    """What is written along an axis."""
    low, high = axis.get_view_interval()
    labels = [*axis.get_majorticklabels(), *axis.get_minorticklabels()]
    return [
        one.get_text()
        for one in labels
        if one.get_text() and low <= one.get_position()[axis.axis_name == "y"] <= high
    ]


def test_a_single_delivery_has_readable_axes(make_run: MakeRun) -> None:
    sent = [{"kind": "upload", "outcome": "delivered", "start_s": 1.0, "end_s": 1.859}]
    figure = transfers_figure(make_run(transfers=sent))
    assert figure is not None
    figure.canvas.draw()
    (axes,) = figure.axes
    assert ticks(axes.xaxis) == ["0.5", "1", "2"]
    assert ticks(axes.yaxis) == ["10⁻¹", "10⁰"]


def test_the_median_of_the_figure_is_that_of_the_table(make_run: MakeRun) -> None:
    """0.85, 0.86 and 0.9 s and one lost: half of the four are there after 0.86 s (interpolated: 0.88 s)."""
    sent = [{"kind": "upload", "outcome": "delivered", "end_s": end} for end in (0.85, 0.9, 0.86)]
    run = make_run(transfers=[*sent, {"kind": "upload", "outcome": "outage", "end_s": 0.1}])
    figure = transfers_figure(run)
    assert figure is not None
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == "upload: 4 sent, 1 lost\nmedian 0.86 s, mean of the rest 0.87 s"
    assert tables.latency_quantiles(run).set_index("what").loc["upload transfer", "median_s"] == 0.86


def test_short_transfers_are_drawn_in_milliseconds(make_run: MakeRun) -> None:
    figure = transfers_figure(
        make_run(transfers=[{"kind": "model", "outcome": "delivered", "end_s": end} for end in (2e-5, 4e-5)])
    )
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xlabel() == "t [ms]" and max(axes.get_lines()[0].get_xdata()) == pytest.approx(0.02)
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == "model: 2 sent\nmedian 0.02 ms, mean 0.03 ms"


@pytest.mark.parametrize(
    ("owned", "legend"),
    [(("", ""), ["battery ran out"]), (("audio", ""), ["no data", "audio", "battery ran out"])],
)
def test_a_map_says_who_has_no_data_only_where_somebody_has(
    owned: tuple[str, str], legend: list[str], make_run: MakeRun
) -> None:
    """A learner without a data set has devices without one, and nothing is amiss."""
    died = {"device": 0, "outcome": "died", "battery_j": 0.0}
    run = make_run(devices=[device(k, modalities=m) for k, m in enumerate(owned)], rounds=[died])
    figure = network_figure(run)
    assert figure is not None
    shown = figure.axes[0].get_legend()
    assert shown is not None and [text.get_text() for text in shown.get_texts()] == legend


def test_every_metric_has_a_panel_with_its_meaning(make_run: MakeRun) -> None:
    """An error that falls from 2 to 0.01 on a logarithmic axis, a bias that changes sign on a linear one."""
    values = {"error": (2.0, 0.1, 0.01), "bias": (-1.0, 0.0, 1.0)}
    metrics = [
        accuracy(t, k, value) | {"name": name}
        for name, curve in values.items()
        for t, value in enumerate(curve, start=1)
        for k in (0, 1)
    ]
    run = make_run(
        metrics=metrics, metadata={"metrics": {"error": "distance from the truth", "bias": "offset"}}
    )
    figure = metrics_figure(run)
    assert figure is not None
    error, bias = figure.axes
    assert error.get_title("left") == "error\ndistance from the truth"
    assert (error.get_yscale(), bias.get_yscale()) == ("log", "linear")
    assert [tuple(point) for point in error.get_lines()[0].get_xydata()] == [(1, 2.0), (2, 0.1), (3, 0.01)]
    assert not figure.legends  # one curve, no band
    assert metrics_figure(make_run("none", metrics=[accuracy(1, 0, 0.5)])) is None


def test_the_curve_of_late_messages_ends_at_the_share_that_was_lost() -> None:
    """Four sent, three arrive after 1, 2 and 4 s: late at first 4/4, then 3/4, 2/4, 1/4 for ever."""
    t, late = not_within(pd.Series([2.0, 1.0, 4.0]), sent=4)
    assert list(t) == [1.0, 1.0, 2.0, 4.0]
    assert list(late) == [1.0, 0.75, 0.5, 0.25]


def test_figures_can_be_vector_graphics(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(devices=[device(0, math.inf)])
    assert [path.name for path in save_plots(run, "pdf")] == ["network.pdf"]


@pytest.mark.parametrize("first_s", [7e-5, 1e-3, 0.4])
@pytest.mark.parametrize("decades", [0.3, 0.9, 1.5, 1.99, 2.0, 2.4, 2.7, 2.99, 3.5])
def test_times_along_a_logarithmic_axis_do_not_overlap(
    make_run: MakeRun, first_s: float, decades: float
) -> None:
    sent = [
        {"kind": "upload", "outcome": "delivered", "start_s": 0.0, "end_s": end_s}
        for end_s in (first_s, first_s * 10**decades)
    ]
    sent.append({"kind": "upload", "outcome": "outage", "start_s": 0.0, "end_s": 0.0})
    figure = transfers_figure(make_run(transfers=sent))
    assert figure is not None
    with matplotlib.rc_context(STYLE):  # as it is saved
        figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    boxes = [
        label.get_window_extent()
        for label in axes.get_xticklabels()
        if label.get_text() and low <= label.get_position()[0] <= high
    ]
    assert boxes
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_labels_lie_where_nothing_else_is() -> None:
    """Two devices 4 points apart: the left one's label goes left, the right one's right; none lies on a point."""
    pair = offsets(np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert pair[0, 0] < 0 < pair[1, 0]
    places = np.random.default_rng(0).uniform(0, 150, (30, 2))
    middles = places + offsets(places)
    gaps = np.linalg.norm(middles[:, None] - np.concatenate([places, middles])[None], axis=-1)
    gaps[np.arange(30), 30 + np.arange(30)] = np.inf
    usual = places + offsets(places[:1])
    usual_gaps = np.linalg.norm(usual[:, None] - np.concatenate([places, usual])[None], axis=-1)
    usual_gaps[np.arange(30), 30 + np.arange(30)] = np.inf
    assert usual_gaps.min() < 2 < 5 < gaps.min(), "labels that all lie on one side meet"
