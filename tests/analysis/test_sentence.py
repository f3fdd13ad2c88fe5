"""What the screen says in the end is so."""

from collections.abc import Callable

from run_folders import accuracy, device

from analysis import Run
from analysis.sentence import sentence


def test_it_names_the_modality_that_is_behind_the_joules_and_who_was_slow(
    make_run: Callable[..., Run],
) -> None:
    """Three rounds of 2 h in which device 1 ends last; 30 J a device, 2 in 3 for computing; device 0 dies after 6 h."""
    rounds = [
        {
            "round": t,
            "device": k,
            "start_s": 7200.0 * (t - 1),
            "end_s": 7200.0 * t - (3600 if k == 0 else 0),
            "compute_s": 3600.0,
            "compute_end_s": 7200.0 * t - 3600 * (2 - k) / 2,
            "compute_j": 20.0 / 3,
            "sending_j": 10.0 / 3,
            "outcome": "finished",
        }
        for t in (1, 2, 3)
        for k in (0, 1)
    ]
    died = {
        "device": 0,
        "round": 3,
        "outcome": "died",
        "start_s": 18000.0,
        "end_s": 21600.0,
        "idle_s": 3600.0,
    }
    learnt = [("", 0.7), ("audio", 0.6), ("visual", 0.4)]
    run = make_run(
        devices=[device(0), device(1)],
        rounds=rounds,
        outside=[died],
        metrics=[accuracy(3, k, value, modality) for k in (0, 1) for modality, value in learnt],
    )
    said = sentence(run)
    assert "accuracy of 70.0 %; alone, audio gives 60.0 % and visual only 40.0 %." in said
    assert "It took 6 h and 30 J a device, 67 % of it for computing." in said
    assert "Device 1 was slow: the last one in 3 of 3 rounds; devices waited" in said
    assert "The battery of device 0 ran out after 6 h." in said


def test_who_waits_for_a_deadline_waits_for_nobody(make_run: Callable[..., Run]) -> None:
    """Two rounds of 10 s; of four, one is cut off; 8 s of computing and 2 s of sending, so 30 of 40 s are idle."""
    spent = [
        (1, 0, 4.0, "finished"),
        (1, 1, 2.0, "cut_off"),
        (2, 0, 1.0, "finished"),
        (2, 1, 1.0, "finished"),
    ]
    rounds = [
        {"round": t, "device": k, "start_s": 10.0 * (t - 1), "end_s": 10.0 * t, "compute_end_s": 10.0 * t - 1}
        | {"compute_s": busy_s, "sending_s": 0.5, "idle_s": 10 - busy_s - 0.5, "outcome": outcome}
        for t, k, busy_s, outcome in spent
    ]
    protocol = {"name": "decentralized_rounds", "deadline_s": 10, "schedule": "shared"}
    run = make_run(rounds=rounds, scenario={"protocol": protocol})
    said = sentence(run)
    assert (
        "The deadline of 10 s cut off 25 % of devices' rounds and left devices waiting 75 % of their time."
        in said
    )
    assert "slow" not in said


def test_several_batteries_ran_out(make_run: Callable[..., Run]) -> None:
    died = [
        {"device": k, "round": 2, "outcome": "died", "start_s": 3.0, "end_s": 4.0 + k, "idle_s": 1.0}
        for k in (0, 1)
    ]
    run = make_run(
        devices=[device(0), device(1)],
        rounds=[{"round": 1, "device": k, "end_s": 3.0, "outcome": "finished"} for k in (0, 1)],
        outside=died,
    )
    assert "The batteries of 2 devices ran out, the first after 4 s." in sentence(run)


def test_a_run_in_which_nothing_was_learnt_has_one_too(make_run: Callable[..., Run]) -> None:
    run = make_run(rounds=[{"round": 1, "device": 0, "end_s": 5.0, "compute_j": 1.0, "outcome": "finished"}])
    assert sentence(run) == "It took 5 s and 0.5 J a device, 100 % of it for computing."
    assert sentence(make_run("empty")) == ""
