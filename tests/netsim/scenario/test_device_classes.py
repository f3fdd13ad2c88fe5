"""Kinds of devices: who is what, what counts, and what does not fit."""

import math

import pandas as pd
import pytest
from typer.testing import CliRunner

from netsim.app.build import build
from netsim.app.commands.cli import app
from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan
from netsim.scenario.classes import class_by_device
from netsim.scenario.model import Devices
from netsim.scenario.yaml_file import write_yaml

KINDS = {
    "phone": {"processor": {"frequency_hz": 2e9}, "battery": {"capacity_j": 10.0}, "tx_power_w": 0.2},
    "wearable": {"processor": {"frequency_hz": 2e8}},
}


def classes(count, **blocks):
    return class_by_device(Devices.model_validate({"count": count, "classes": blocks}))


def test_classes_that_list_no_devices_share_the_others_in_turn():
    """Of 0 to 6 the camera has 1 and 4; 0, 2, 3, 5, 6 are left and go round: phone, watch, phone, watch, phone."""
    found = classes(7, phone={}, camera={"devices": [4, 1]}, watch={})
    assert found == {0: "phone", 1: "camera", 2: "watch", 3: "phone", 4: "camera", 5: "watch", 6: "phone"}
    assert list(found) == sorted(found)


def test_where_every_class_lists_its_devices_the_others_have_none():
    assert classes(4, camera={"devices": [2]}) == {2: "camera"}
    assert classes(4) == {}


def test_a_class_changes_what_it_says_and_overrides_change_the_class(write_scenario, tmp_path):
    devices = {
        "count": 3,
        "processor": {"frequency_hz": 1e9, "flops_per_cycle": 8.0},
        "rx_power_w": 0.3,
        "classes": KINDS,
        "overrides": [{"devices": [2], "processor": {"frequency_hz": 5e8}, "tx_power_w": 0.7}],
    }
    a, b, c = build(load_plan(write_scenario(devices=devices)), tmp_path, print).network.devices
    assert [d.processor.frequency_hz for d in (a, b, c)] == [2e9, 2e8, 5e8]
    assert {d.processor.flops_per_cycle for d in (a, b, c)} == {8.0}
    assert [d.battery.capacity_j for d in (a, b, c)] == [10.0, math.inf, 10.0]
    assert [d.tx_power_w for d in (a, b, c)] == [0.2, 0.1, 0.7]
    assert [d.rx_power_w for d in (a, b, c)] == [0.3, 0.3, 0.3]


def test_classes_resolve_to_themselves_and_can_be_set(write_scenario, tmp_path):
    path = write_scenario(devices={"count": 3, "classes": KINDS})
    plan = load_plan(path, ["devices.classes.phone.tx_power_w=0.5"])
    assert plan.scenario.devices.classes["phone"].tx_power_w == 0.5
    again = tmp_path / "again.yaml"
    again.write_text(write_yaml(plan.resolved()))
    assert load_plan(again).resolved() == plan.resolved()
    assert list(load_plan(again).scenario.devices.classes) == ["phone", "wearable"]


def test_records_say_of_which_class_a_device_is(write_scenario, tmp_path):
    blocks = {"protocol": "server_rounds", "learner": {"name": "stub"}}
    path = write_scenario(devices={"count": 3, "classes": KINDS}, topology=None, **blocks)
    options = ["--runs", str(tmp_path), "--run-id", "a", "--quiet", "--no-plots"]
    result = CliRunner().invoke(app, ["run", str(path), *options])
    assert result.exit_code == 0, result.output
    rows = pd.read_parquet(tmp_path / "small" / "a" / "devices.parquet")
    assert list(rows.device_class) == ["phone", "wearable", "phone", ""]


def test_a_learner_that_takes_networks_by_device_finds_them_in_its_setup(
    write_scenario, tmp_path, monkeypatch
):
    """As written, by device; the classes by device beside them."""
    from learners.algorithms.stub import Stub

    monkeypatch.setattr(Stub, "network_per_device", True)
    networks = {"image": {"name": "cnn", "channels": [4]}}
    kinds = {"phone": {"networks": networks}, "wearable": {}}
    simulation = build(
        load_plan(write_scenario(devices={"count": 3, "classes": kinds})), tmp_path, lambda text: None
    )
    assert simulation.learner.setup.networks == {0: networks, 2: networks}
    assert simulation.learner.setup.device_classes == {0: "phone", 1: "wearable", 2: "phone"}


@pytest.fixture
def learning(late_fusion):
    """Blocks in which a small network learns, with a class that has little memory."""

    def blocks(name, memory_bytes, **learner):
        found = late_fusion(name, 6, 4)
        found["learner"] |= learner
        if name == "dmml":
            del found["learner"]["head_hidden"]
        else:
            found |= {"protocol": "server_rounds", "topology": None}
        kinds = {"phone": {}, "wearable": {"devices": [1, 2], "memory_bytes": memory_bytes}}
        return found | {"devices": {"count": 3, "classes": kinds}, "jobs": {"device": "cpu"}}

    return blocks


@pytest.mark.parametrize("name", ["dmml", "fedavg"])
def test_a_device_with_too_little_memory_is_refused_before_the_run(name, learning, write_scenario, tmp_path):
    plan = load_plan(write_scenario(**learning(name, 100.0)))
    with pytest.raises(ScenarioError) as error:
        build(plan, tmp_path, lambda text: None)
    (line,) = str(error.value).splitlines()
    assert f"{plan.file}: devices.classes.wearable.memory_bytes: training takes " in line
    assert "which has 100 bytes (9.54e-05 MiB); too little for 1 more of the class, too. Choose" in line
    assert "a smaller learner.batch_size, or more memory" in line


@pytest.mark.parametrize("name", ["dmml", "fedavg"])
def test_it_is_refused_from_the_byte_on_that_its_learner_asks_for(name, learning, write_scenario, tmp_path):
    def learner(memory_bytes):
        plan = load_plan(write_scenario(**learning(name, memory_bytes)))
        return build(plan, tmp_path, lambda text: None).learner

    needed = max(learner(None).training_memory_bytes(k) for k in (1, 2))
    learner(needed)
    with pytest.raises(ScenarioError, match="memory_bytes"):
        learner(needed - 1)


def test_less_is_taken_by_smaller_batches_and_optimizers_that_remember_less(
    learning, write_scenario, tmp_path
):
    def needed(name, **options):
        plan = load_plan(write_scenario(**learning(name, None, **options)))
        return build(plan, tmp_path, lambda text: None).learner.training_memory_bytes(0)

    adam, sgd = needed("dmml"), needed("dmml", optimizer="sgd")
    # 8 x 6 + 6 + 6 x 4 + 4 weights, 2 x 2 of each of two classifiers, a bias of 2: 92, and two numbers more of each.
    assert adam - sgd == 4 * 2 * 92
    assert needed("dmml", batch_size=4) < adam
    assert needed("fedavg", momentum=0.0) < needed("fedavg")
    assert needed("fedprox", mu=0.1) > needed("fedprox", mu=0.0)
