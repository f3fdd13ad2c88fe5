"""Worlds that cannot be: each is one line that names key, what was found, and what is allowed or the way out."""

from __future__ import annotations

import pytest

from netsim.core.errors import ScenarioError

FILES = {
    "ends.csv": "time_s,device,x_m,y_m\n0,0,0,0\n1,0,5,0\n0,1,10,0\n100,1,10,0\n0,2,20,0\n100,2,20,0\n",
    "nowhere.csv": "time_s,device,x_m,y_m\n0,0,nan,0\n0,1,10,0\n0,2,20,0\n",
    "backwards.csv": "device,from_s,to_s\n0,5,1\n",
    "drains.csv": "time_s,power_w\n0,1\n5,-2\n",
}
NEAR, HALL = [[1, 0], [50, 0], [10, 40]], [[1, 0], [500, 0], [10, 40]]
LISTED = {"frequencies_hz": [1e9]}


def placed(places, **links):
    return {
        "placement": {"name": "coordinates", "positions_m": places},
        **({"links": links} if links else {}),
    }


def harvested(**harvest):
    return {"devices": {"count": 3, "battery": {"capacity_j": 5}, "harvest": harvest}}


def to_server(places, **path_loss):
    loss = {"path_loss": {"name": "umi", **path_loss}}
    return {
        "protocol": {"name": "server_rounds"},
        "topology": placed(places),
        "server": {"uplink": loss, "downlink": loss},
    }


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (
            {"mobility": {"name": "trace", "file": "ends.csv"}},
            "mobility.file: .*ends.csv: the way of device 0 ends at 1 s, and the run goes on at .* mobility.end: hold",
        ),
        (
            {"mobility": {"name": "trace", "file": "nowhere.csv"}},
            "mobility.file: .*row 1: .* must be numbers",
        ),
        (
            {"devices": {"count": 3, "churn": {"name": "trace", "file": "backwards.csv"}}},
            r"devices.churn.file: .*line 2: must be from_s < to_s, from 0 on \(got 5, 1\)",
        ),
        (harvested(name="constant", power_w=-1), r"devices.harvest.power_w: must be at least 0 \(got -1\)"),
        (harvested(name="profile", steps=[[0, -1]]), r"devices.harvest.steps: .* at least 0 W \(got -1\)"),
        (
            harvested(name="profile", file="drains.csv"),
            r"devices.harvest.file: .*drains.csv: .*0 W \(got -2\)",
        ),
        (harvested(name="solar", area_m2=-1), "devices.harvest.area_m2: must be greater than 0"),
        (
            {"devices": {"count": 3, "processor": LISTED | {"frequency_hz": 7e8}}},
            r"devices.processor: frequency_hz: 7e\+08 is not one of frequencies_hz: 1e\+09",
        ),
        (
            {
                "devices": {
                    "count": 3,
                    "processor": LISTED,
                    "overrides": [{"devices": [0], "processor": {"frequency_hz": 7e8}}],
                }
            },
            r"devices.overrides.0.processor: frequency_hz: 7e\+08 is not one of frequencies_hz",
        ),
        (to_server(NEAR), "the link 0 - server of 1 m .* distance over the ground 1 m, valid: 10 to 5000 m"),
        (to_server([[20, 0]] * 3, device_height_m=30), "height of the device 30 m, valid: 1.5 to 22.5 m"),
        (
            {"radio": {"path_loss": "inh"}, "topology": placed(HALL, name="range", range_m=600)},
            "radio.path_loss: the link 0 - 1 of 499 m .* valid: 1 to 150 m; .* extrapolate: true",
        ),
        (
            {"topology": placed([[0, 0], [10, 0], [5000, 0]])},
            "topology: the graph is not connected .* or set require_connected: false",
        ),
    ],
)
def test_it_is_refused_in_one_line(simulate, tmp_path, blocks, said):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError, match=said) as found:
        simulate(**blocks)
    assert len(str(found.value).splitlines()) == 1 and ".yaml: " in str(found.value)


def test_what_is_refused_goes_on_where_the_scenario_says_so(simulate):
    assert simulate(**to_server(NEAR, extrapolate=True))[1].transfers
    apart = {**placed([[0, 0], [10, 0], [5000, 0]]), "require_connected": False}
    simulation, log = simulate(topology=apart, rounds=2)
    assert simulation.network.alone == {2}
    assert [row.outcome for row in log.rounds if row.device == 2] == ["finished"] * 2
