"""Shipped scenarios in short form against stored summaries: a change of any of them must be meant.

Seconds, joules and bits are arithmetic and must agree to 1e-9 (with the balance, to some iterations). Accuracies are
learnt in float32, whose rounding differs between machines and library versions, and may differ by a tenth.
``--force-regen`` stores new summaries; the commit says why.
"""

import pytest
from shipped import DATA, ROOT, SHORT, needs

from netsim.app.build import build
from netsim.scenario import load_plan

EXACT = {"rtol": 1e-9, "atol": 1e-12}
BALANCED = {"rtol": 0.05, "atol": 1e-12}


def numbers(summary):
    """The arithmetic of a summary, flat."""
    energy = summary["energy_per_device_j"]
    return {
        "simulated_s": [summary["simulated_s"]],
        **{f"energy_{key}_j": [energy[key]] for key in ("mean", "min", "max", "compute", "sending")},
        "sent_bits": [summary["sent_bits"]],
        "airtime_median_s": [summary["airtime_s"]["median"]],
        "round_q90_s": [summary["round_s"]["q90"] or float("inf")],  # null: not finished
        "transfers": [float(sum(summary["transfers"].values()))],
    }


@pytest.mark.parametrize("name", sorted(SHORT))
def test_short_form_against_its_stored_summary(name, run_scenario, summary_of, num_regression):
    needs(name)
    summary = summary_of(run_scenario(name, *SHORT[name]))
    learnt = {f"accuracy_{k}": [v["final"]] for k, v in summary["accuracy"].items()}
    tolerances = {key: {"rtol": 0.0, "atol": 0.1} for key in learnt}
    num_regression.check(
        {**numbers(summary), **learnt},
        tolerances=tolerances,
        default_tolerance=BALANCED if name == "two_devices" else EXACT,
    )
    assert summary["surrogate_data"] == (name not in DATA)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml")))
def test_every_shipped_scenario_is_valid(name):
    assert load_plan(ROOT / "scenarios" / f"{name}.yaml").scenario.name == name


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory, run_into):
    """The smallest scenario, one job at a time."""
    return run_into(tmp_path_factory.mktemp("runs"), "two_devices", "rounds=2")


def test_same_scenario_and_seed_same_records(two_rounds, run_scenario):
    """Training, evaluation and coordination included, on the smallest scenario; and another seed is another run."""
    a, b = two_rounds, run_scenario("two_devices", "rounds=2", run_id="b")
    c = run_scenario("two_devices", "rounds=2", "seed=1", run_id="c")
    for table in ("rounds", "transfers", "metrics", "devices", "links"):
        assert (a / f"{table}.parquet").read_bytes() == (b / f"{table}.parquet").read_bytes()
    assert (a / "summary.json").read_bytes() == (b / "summary.json").read_bytes()
    assert (a / "metrics.parquet").read_bytes() != (c / "metrics.parquet").read_bytes()


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_records_do_not_depend_on_the_executor(executor, two_rounds, run_scenario):
    b = run_scenario("two_devices", "rounds=2", f"jobs.executor.name={executor}")
    for table in ("rounds", "transfers", "metrics"):
        assert (two_rounds / f"{table}.parquet").read_bytes() == (b / f"{table}.parquet").read_bytes()


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_stacks_give_the_same_records_every_time(executor, run_scenario):
    """Who is stacked with whom is a matter of simulated time, never of who is done first."""
    settings = ("rounds=2", "devices.count=2", f"jobs.executor.name={executor}", "jobs.stacking=on")
    a, b = (run_scenario("two_devices", *settings, run_id=i) for i in "ab")
    for table in ("rounds", "transfers", "metrics"):
        assert (a / f"{table}.parquet").read_bytes() == (b / f"{table}.parquet").read_bytes()


def test_two_learners_on_one_seed_see_the_same_placement_fading_and_partition(run_scenario):
    """Common random numbers: all stand in the same places with the same data; DMML and DMML-KD see the same gains."""
    import pandas as pd

    short = ("data.surrogate_clips=240", "costs.stated.iterations=1", "rounds=2", "evaluation.samples=12")
    runs = {
        name: run_scenario("crema_12dev", *short, f"learner.name={name}", run_id=name)
        for name in ("dmml", "dmml_kd", "isolated")
    }
    devices = {n: pd.read_parquet(r / "devices.parquet") for n, r in runs.items()}
    assert devices["dmml"].equals(devices["dmml_kd"]) and devices["dmml"].equals(devices["isolated"])
    gains = {
        n: pd.read_parquet(runs[n] / "transfers.parquet")
        .set_index(["round", "sender", "receiver"])
        .gain.sort_index()
        for n in ("dmml", "dmml_kd")
    }
    assert gains["dmml"].equals(gains["dmml_kd"])


WITH_A_SERVER = ("fedavg", "fedprox", "fednova", "fedatt", "fedhgb", "mgb", "cgb")


def test_methods_with_a_server_see_the_same_placement_fading_and_partition(run_scenario):
    """Common random numbers there too; first weights: ``tests/learners/training/late_fusion/test_methods.py``."""
    import pandas as pd

    needs("fedhgb_utd")
    short = (*SHORT["fedhgb_utd"], "evaluation.samples=10")
    runs = {n: run_scenario("fedhgb_utd", *short, f"learner.name={n}", run_id=n) for n in WITH_A_SERVER}
    tables = {
        name: (
            pd.read_parquet(folder / "devices.parquet"),
            pd.read_parquet(folder / "transfers.parquet")
            .set_index(["round", "kind", "sender", "receiver"])
            .gain.sort_index(),
        )
        for name, folder in runs.items()
    }
    devices, gains = tables["fedavg"]
    assert len(devices) == 51 and len(gains) == 2 * 2 * 40
    for name, (others, theirs) in tables.items():
        assert devices.equals(others) and gains.equals(theirs), name


@pytest.mark.parametrize("seed", range(3))
def test_the_world_with_a_server_is_the_one_without(seed, cache):
    """Devices stand in the same places with the same data, on the seeds that docs/reproduction.md compares."""
    needs("fedhgb_ravdess")
    worlds = []
    for name in ("fedhgb_ravdess", "decentralized_ravdess"):
        plan = load_plan(ROOT / "scenarios" / f"{name}.yaml", (*SHORT[name], f"seed={seed}"))
        rows = build(plan, cache, lambda text: None).devices().rows()
        worlds.append([row._replace(degree=0) for row in rows if row.role == "device"])
    assert len(worlds[0]) == 20 and worlds[0] == worlds[1]
