"""Tables of runs so small that every number can be added up by hand."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from run_folders import accuracy, device

from analysis import Run, tables

MakeRun = Callable[..., Run]


def spent(number: int, device: int, **values: Any) -> dict[str, Any]:
    return {"round": number, "device": device, "outcome": "finished", "compute_end_s": math.nan} | values


def row(table: pd.DataFrame, **where: Any) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_accuracy_is_averaged_over_devices_and_keeps_modalities_apart(make_run: MakeRun) -> None:
    run = make_run(
        metrics=[
            accuracy(1, 0, 0.2, time_s=10.0),
            accuracy(1, 1, 0.6, time_s=20.0),
            accuracy(1, 1, 0.5, "audio", time_s=20.0),
            accuracy(1, 1, 9.9) | {"name": "loss_task"},
        ]
    )
    table = tables.accuracy_by_round(run)
    fused = row(table, modality="fused")
    assert (fused["mean"], fused["min"], fused["max"]) == (0.4, 0.2, 0.6)
    assert fused["std"] == pytest.approx(0.2)  # both are 0.2 away from the mean
    assert (fused["devices"], fused["time_s"]) == (2, 15.0)
    assert row(table, modality="audio")["mean"] == 0.5
    assert len(table) == 2


def test_energy_at_an_accuracy_counts_rounds_so_far_and_the_dead(make_run: MakeRun) -> None:
    """Device 1 spends 2 J and dies in round 1; device 0 spends 4 J a round: (4+2)/2 = 3 J, then (8+2)/2 = 5 J."""
    run = make_run(
        rounds=[
            spent(1, 0, compute_j=3.0, sending_j=1.0),
            spent(1, 1, compute_j=2.0, outcome="died"),
            spent(2, 0, compute_j=3.0, idle_j=0.5, receiving_j=0.5),
        ],
        metrics=[accuracy(0, 0, 0.1), accuracy(1, 0, 0.2), accuracy(2, 0, 0.3), accuracy(3, 0, 0.3)],
    )
    assert list(tables.accuracy_by_round(run)["energy_j"]) == [0.0, 3.0, 5.0, 5.0]
    assert run.dead == [1]


def test_one_central_model_is_measured_for_the_whole_network(make_run: MakeRun) -> None:
    run = make_run(metrics=[accuracy(1, -1, 0.7)])
    assert row(tables.accuracy_by_round(run), modality="fused")["mean"] == 0.7
    both = make_run("both", metrics=[accuracy(1, -1, 0.7), accuracy(1, 0, 0.5)])
    assert row(tables.accuracy_by_round(both), modality="fused")["mean"] == 0.5


@pytest.fixture
def climbing(make_run: MakeRun) -> Run:
    """One device that spends 10 J and 100 s a round; accuracy 0.2, 0.5, 0.4, 0.6, 0.55."""
    values = [0.2, 0.5, 0.4, 0.6, 0.55]
    return make_run(
        devices=[device(0)],
        rounds=[spent(t, 0, compute_j=10.0) for t in range(1, 6)],
        metrics=[accuracy(t, 0, value, time_s=100.0 * t) for t, value in enumerate(values, start=1)],
    )


def test_best_and_last_accuracy_are_both_reported(climbing: Run) -> None:
    fused = row(tables.accuracy_summary(climbing), modality="fused")
    assert tuple(fused[["best", "best_round", "best_time_s", "best_energy_j"]]) == (0.6, 4, 400.0, 40.0)
    assert tuple(fused[["last", "last_round"]]) == (0.55, 5)


def test_a_target_is_reached_the_first_time_the_mean_is_there(climbing: Run) -> None:
    table = tables.to_target(climbing, [0.5, 0.9])
    assert tuple(row(table, target=0.5)[["round", "time_s", "energy_j"]]) == (2, 200.0, 20.0)
    assert row(table, target=0.9)[["round", "time_s", "energy_j"]].isna().all()


def test_joules_per_point_compare_each_new_best_with_the_one_before(climbing: Run) -> None:
    """0.2 to 0.5 is 30 points for 10 J; 0.5 to 0.6 is 10 points for the 20 J of two rounds."""
    table = tables.energy_per_accuracy(climbing)
    assert list(table["round"]) == [1, 2, 4]
    assert list(table["per_point_j"][1:]) == pytest.approx([1 / 3, 2.0])
    assert math.isnan(table["per_point_j"][0])


def test_energy_adds_up_by_device_and_to_what_left_the_battery(make_run: MakeRun) -> None:
    run = make_run(
        devices=[device(0, battery_j=100.0), device(1), device(2, battery_j=50.0)],
        rounds=[
            spent(1, 0, compute_j=10.0, sending_j=5.0, battery_j=85.0),
            spent(1, 1, compute_j=7.0, battery_j=math.inf),
            spent(2, 0, receiving_j=2.0, idle_j=3.0, battery_j=80.0),
        ],
    )
    energy = tables.energy_by_category(run)
    assert list(energy["total_j"]) == [20.0, 7.0, 0.0]
    assert tuple(row(energy, device=0)[list(tables.ENERGY.values())]) == (10.0, 5.0, 2.0, 3.0)
    account = tables.energy_account(run)
    assert list(account["left_j"]) == [80.0, math.inf, 50.0]
    assert list(account["missing_j"])[::2] == [0.0, 0.0]
    assert math.isnan(account["missing_j"][1])


def test_what_was_spent_outside_of_rounds_counts_too(make_run: MakeRun) -> None:
    """Device 0: 10 J in round 1, 3 J in waiting for 2, 20 J in it, 4 J until the run ends; 1 dies after its round 1."""
    stretch = {"outcome": "waited", "compute_j": 0.0, "sending_j": 0.0, "receiving_j": 0.0}
    after = {
        "device": 0,
        **stretch,
        "start_s": 5.0,
        "end_s": 6.0,
        "idle_s": 1.0,
        "idle_j": 4.0,
        "battery_j": 63.0,
    }
    before = {**after, "round": 1, "start_s": 1.0, "end_s": 2.0, "idle_j": 3.0, "battery_j": 87.0}
    died = {
        **after,
        "device": 1,
        "round": 1,
        "start_s": 1.0,
        "outcome": "died",
        "idle_j": 48.0,
        "battery_j": 0.0,
    }
    server = {**after, "device": 2, "round": 2, "battery_j": math.inf}
    run = make_run(
        devices=[device(0, battery_j=100.0), device(1, battery_j=50.0)],
        rounds=[
            spent(1, 0, compute_j=10.0, battery_j=90.0, end_s=1.0),
            spent(1, 1, compute_j=2.0, battery_j=48.0, end_s=1.0),
            spent(2, 0, compute_j=20.0, battery_j=67.0, start_s=2.0, end_s=5.0),
        ],
        outside=[before, {**after, "round": 2}, died, server],
    )
    assert list(tables.energy_by_category(run)["total_j"]) == [37.0, 50.0]
    account = tables.energy_account(run)
    assert list(account["left_j"]) == [63.0, 0.0] and list(account["missing_j"]) == [0.0, 0.0]
    assert tables.cumulative_energy(run).to_numpy().tolist() == [[10.0, 2.0], [33.0, 50.0]]
    assert list(tables.time_by_category(run)["total_s"]) == [6.0, 6.0]
    assert run.dead == [1]


def test_overlapping_radio_time_is_counted_once(make_run: MakeRun) -> None:
    """100 s: 60 s computing, 25 s sending and 30 s receiving at once in 30 s, 10 s idle; 60 + 30 + 10 = 100."""
    busy = {
        "start_s": 0.0,
        "end_s": 100.0,
        "compute_s": 60.0,
        "sending_s": 25.0,
        "receiving_s": 30.0,
        "idle_s": 10.0,
    }
    time = row(tables.time_by_category(make_run(rounds=[spent(1, 0, **busy)])), device=0)
    assert tuple(time[["compute_s", "radio_s", "idle_s", "total_s"]]) == (60.0, 30.0, 10.0, 100.0)


def test_the_straggler_is_named_with_what_it_cost(make_run: MakeRun) -> None:
    """Computing ends at 10, 12 and 20 s: device 2 is 8 s behind the next and behind the median."""
    ends = [(10.0, 25.0, 5.0), (12.0, 26.0, 6.0), (20.0, 30.0, 1.0)]
    devices = [
        spent(1, k, compute_end_s=computing, end_s=end, idle_s=idle, slowdown=1.0 + k)
        for k, (computing, end, idle) in enumerate(ends)
    ]
    second = [spent(2, 0, compute_end_s=40.0, end_s=50.0), spent(2, 1, end_s=60.0, outcome="cut_off")]
    run = make_run(devices=[device(k) for k in range(3)], rounds=devices + second)
    table = tables.stragglers(run)
    first = row(table, round=1)
    assert tuple(first[["last_computing", "computing_behind_next_s", "computing_behind_median_s"]]) == (
        2,
        8.0,
        8.0,
    )
    assert tuple(first[["last_ending", "ending_behind_next_s", "ending_behind_median_s"]]) == (2, 4.0, 4.0)
    assert tuple(first[["slowdown", "others_idle_s", "unfinished"]]) == (3.0, 5.5, 0)
    assert tuple(row(table, round=2)[["last_computing", "last_ending", "unfinished"]]) == (0, 1, 1)
    counts = tables.straggler_counts(run)
    assert list(counts["times_last_computing"]) == [0, 0, 1]  # alone in round 2, device 0 held up nobody
    assert list(counts["ending_behind_next_s"]) == [0.0, 10.0, 4.0]


def test_nobody_is_a_straggler_among_equals(make_run: MakeRun) -> None:
    """0.1 + 0.2 is not 0.3 to a computer; it is to us."""
    ends = (0.1 + 0.2, 0.3)
    run = make_run(rounds=[spent(1, k, compute_end_s=end, end_s=end) for k, end in enumerate(ends)])
    assert list(tables.straggler_counts(run)["times_last_computing"]) == [0, 0]
    assert list(tables.stragglers(run)["ending_behind_next_s"]) == [0.0]


def test_a_message_that_never_arrived_took_forever(make_run: MakeRun) -> None:
    """99 messages take 1 to 99 s, one is lost: the median is 50 s, 90 % need 90 s, 99 % need 99 s, mean 50 s."""
    sent = [
        {"kind": "model", "outcome": "delivered", "start_s": 5.0, "end_s": 5.0 + n} for n in range(1, 100)
    ]
    lost = [{"kind": "model", "outcome": "outage", "start_s": 5.0, "end_s": 6.0}]
    one = row(tables.latency_quantiles(make_run(transfers=sent + lost)), what="model transfer")
    assert tuple(one[["finished", "unfinished", "mean_s", "median_s", "p90_s", "p99_s", "max_s"]]) == (
        *(99, 1, 50.0, 50.0, 90.0, 99.0, 99.0),
    )
    three = row(
        tables.latency_quantiles(make_run("lossy", transfers=sent[:9] + 3 * lost)), what="model transfer"
    )
    assert (three["median_s"], three["p90_s"]) == (6.0, math.inf)


def test_energy_of_a_round_has_a_median_beside_its_mean(make_run: MakeRun) -> None:
    """Sending 1, 1 and 10 J, computing 5 J each: mean 4 J but median 1 J; in total 9 J and 6 J."""
    rounds = [
        spent(t, 0, compute_j=5.0, sending_j=joules) for t, joules in enumerate((1.0, 1.0, 10.0), start=1)
    ]
    table = tables.energy_quantiles(make_run(rounds=rounds))
    assert tuple(row(table, what="sending")[["rounds", "mean_j", "median_j", "max_j"]]) == (3, 4.0, 1.0, 10.0)
    assert tuple(row(table, what="total")[["mean_j", "median_j"]]) == (9.0, 6.0)


def test_a_run_without_a_finished_round_gives_tables_without_numbers(make_run: MakeRun) -> None:
    run = make_run()
    for table in (
        tables.accuracy_by_round,
        tables.accuracy_summary,
        tables.energy_per_accuracy,
        tables.stragglers,
    ):
        assert table(run).empty
    assert tables.to_target(run, [0.5]).empty
    assert list(tables.energy_by_category(run)["total_j"]) == [0.0, 0.0]
    assert list(tables.time_by_category(run)["total_s"]) == [0.0, 0.0]
    assert list(tables.straggler_counts(run)["times_last_ending"]) == [0, 0]
    assert list(tables.energy_quantiles(run)["rounds"]) == [0] * 5
    assert list(tables.latency_quantiles(run)["finished"]) == [0, 0]
    assert list(tables.energy_account(run)["spent_j"]) == [0.0, 0.0]
