import math

import pytest

from netsim.scenario import load_plan
from netsim.scenario.yaml_file import parse_value, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e5", 5e5),
        ("1e-3", 1e-3),
        ("-2.5E+3", -2500.0),
        (".5", 0.5),
        ("010", 10),
        ("on", "on"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("true", True),
        (".inf", math.inf),
        ("~", None),
        ("5e5 Hz", "5e5 Hz"),
        ("2026-11-21", "2026-11-21"),
        ("[1, 2e3]", [1, 2000.0]),
    ],
)
def test_values_are_read_as_a_person_reads_them(text, value):
    read = parse_value(text, "here")
    assert read == value and type(read) is type(value)


def test_what_is_written_is_read_back(tmp_path):
    tree = {"a": 5e5, "b": math.inf, "c": {"d": [1, 2.5, "x", None, True]}, "e": 1e-28, "f": "5e5"}
    path = tmp_path / "x.yaml"
    path.write_text(write_yaml(tree))
    assert read_yaml(path) == tree


def test_the_command_line_changes_what_the_file_says(write_scenario):
    plan = load_plan(write_scenario(), ["rounds=7", "learner.flops=5e5", "devices.battery.capacity_j=.inf"])
    assert plan.scenario.rounds == 7
    assert plan.parts["learner"].options.flops == 5e5


def test_a_name_alone_stands_for_its_block(write_scenario):
    plan = load_plan(write_scenario(radio={"channel": "none"}))
    assert plan.parts["radio.channel"].name == "none"


def test_another_component_by_name_keeps_the_options_it_knows_and_says_what_it_drops(write_scenario):
    path = write_scenario(radio={"channel": {"name": "rayleigh", "normalisation": "unit_power"}})
    plan = load_plan(path, ["radio.channel.name=none"])
    assert plan.notes == ("radio.channel: 'none' has no normalisation; left out",)


def test_an_entry_of_a_list_can_be_set(write_scenario):
    path = write_scenario(devices={"count": 3, "overrides": [{"devices": [0], "tx_power_w": 1.0}]})
    assert (
        load_plan(path, ["devices.overrides.0.tx_power_w=2"]).scenario.devices.overrides[0].tx_power_w == 2.0
    )


def test_the_resolved_scenario_is_complete_and_resolves_to_itself(write_scenario, tmp_path):
    plan = load_plan(write_scenario(), ["seed=5"])
    tree = plan.resolved()
    assert tree["radio"]["channel"] == {
        "name": "rayleigh",
        "normalisation": "mean_amplitude",
        "coherence_time_s": None,
        "reciprocal": True,
    }
    again = tmp_path / "again.yaml"
    again.write_text(write_yaml(tree))
    assert load_plan(again).resolved() == tree


def test_overrides_change_single_devices(write_scenario, tmp_path):
    from netsim.app.build import build

    devices = {
        "count": 3,
        "processor": {"frequency_hz": 1e9},
        "overrides": [
            {"devices": [1, 2], "processor": {"frequency_hz": 2e9}, "battery": {"capacity_j": 10.0}},
            {"devices": [2], "tx_power_w": 0.5},
        ],
    }
    simulation = build(load_plan(write_scenario(devices=devices)), tmp_path, print)
    a, b, c = simulation.network.devices
    assert [d.processor.frequency_hz for d in (a, b, c)] == [1e9, 2e9, 2e9]
    assert [d.battery.capacity_j for d in (a, b, c)] == [math.inf, 10, 10]
    assert [d.tx_power_w for d in (a, b, c)] == [0.1, 0.1, 0.5]
    assert c.processor.flops_per_cycle == 4.0
