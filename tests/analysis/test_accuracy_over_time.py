"""Accuracy at instants: devices in different rounds, each with its last value, by hand."""

from __future__ import annotations

import pytest
from run_folders import accuracy

from analysis import tables

ROUNDS = [
    {"round": 1, "device": 0, "outcome": "finished", "start_s": 0.0, "end_s": 1.0, "compute_j": 2.0},
    {"round": 2, "device": 0, "outcome": "finished", "start_s": 1.0, "end_s": 2.0, "compute_j": 2.0},
    {"round": 1, "device": 1, "outcome": "finished", "start_s": 0.0, "end_s": 4.0, "compute_j": 4.0},
    {"round": 3, "device": 0, "outcome": "finished", "start_s": 2.0, "end_s": 8.0, "compute_j": 6.0},
]
FAST = [accuracy(1, 0, 0.4, time_s=1.0), accuracy(2, 0, 0.6, time_s=2.0), accuracy(3, 0, 0.8, time_s=8.0)]
SLOW = [accuracy(1, 1, 0.2, time_s=4.0)]


def test_the_last_value_of_each_device_counts(make_run):
    """By round the mean of round 1 would be 0.3 at 2.5 s; nobody's accuracies were 0.4 and 0.2 at one time."""
    table = tables.accuracy_over_time(make_run(rounds=ROUNDS, metrics=[*FAST, *SLOW]))
    assert list(table["time_s"]) == [1.0, 2.0, 4.0, 8.0]
    assert list(table["mean"]) == pytest.approx([0.4, 0.6, 0.4, 0.5])
    assert list(table["min"]) == pytest.approx([0.4, 0.6, 0.2, 0.2])
    assert list(table["devices"]) == [1, 1, 2, 2]
    assert list(table["energy_j"]) == pytest.approx([1.5, 3.0, 5.0, 7.0])  # in a row evenly


def test_who_has_died_for_good_counts_no_longer(make_run):
    died = {"round": 2, "device": 1, "outcome": "died", "start_s": 4.0, "end_s": 5.0, "compute_j": 1.0}
    table = tables.accuracy_over_time(make_run(rounds=[*ROUNDS, died], metrics=[*FAST, *SLOW]))
    assert list(table["mean"]) == pytest.approx([0.4, 0.6, 0.4, 0.8]) and table["devices"].iloc[-1] == 1


def test_runs_are_averaged_at_common_instants(make_run):
    """The second run measures from 2 s to 6 s: 0.5, and 0.7 from 5 s on. The first has 0.6 and 0.4 by then."""
    first = make_run(rounds=ROUNDS, metrics=[*FAST, *SLOW])
    other = [
        accuracy(1, 0, 0.5, time_s=2.0),
        accuracy(2, 0, 0.7, time_s=5.0),
        accuracy(3, 0, 0.9, time_s=6.0),
    ]
    second = make_run("run-2", rounds=ROUNDS, metrics=other, metadata={"seed": 2})
    curve = tables.mean_over_time([first, second])
    assert list(curve["time_s"]) == [2.0, 4.0, 5.0, 6.0]
    assert list(curve["mean"]) == pytest.approx([0.55, 0.45, 0.55, 0.65])
    assert list(curve["se"]) == pytest.approx([0.05, 0.05, 0.15, 0.25])


def test_curves_of_many_measurements_have_few_instants(make_run):
    many = [accuracy(t, 0, t / 1000, time_s=float(t)) for t in range(1, 1001)]
    table = tables.accuracy_over_time(make_run(rounds=ROUNDS, metrics=many))
    assert len(table) == 200 and list(table["mean"]) == pytest.approx(list(table["time_s"] / 1000))
    assert table["time_s"].iloc[[0, -1]].tolist() == [1.0, 1000.0]
