"""What the guide to policies shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

import netsim

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/guides/policies.md").read_text(), re.DOTALL)


def test_the_guides_policy_halves_the_clock_of_who_has_little_left(tmp_path):
    """4e9 FLOPs are 1e9 cycles: 0.5 s at 2 GHz, and 1 s at half of it, from 20 J on."""
    (scenario,) = (text for language, text in BLOCKS if language == "yaml")
    (tmp_path / "six.yaml").write_text(scenario)
    (tmp_path / "thrifty.py").write_text(next(text for language, text in BLOCKS if language == "python"))
    own = {"cpu_frequency": "thrifty:Thrifty", "tx_power": "thrifty:Thrifty"}
    changes = {"policies": own, "devices.battery.capacity_j": 24, "topology.links.range_m": 1000}
    shipped = netsim.run(tmp_path / "six.yaml", runs=tmp_path, rounds=1, quiet=True).rounds
    assert (shipped.compute_s == 2.0).all()  # at 0.5 GHz, just in time
    rows: pd.DataFrame = netsim.run(tmp_path / "six.yaml", runs=tmp_path, set=changes, quiet=True).rounds
    before_j = rows.battery_j + rows.compute_j + rows.sending_j + rows.receiving_j + rows.idle_j
    assert (rows.compute_s.round(9) == (before_j >= 20).map({True: 0.5, False: 1.0})).all()
    assert set(rows.compute_s.round(9)) == {0.5, 1.0}


def test_the_guides_agent_plays(write_scenario, late_fusion, monkeypatch, capsys):
    """In a smaller scenario."""
    monkeypatch.chdir(ROOT)
    small = write_scenario(**late_fusion("fedavg", 4))
    code = BLOCKS[-1][1].replace("scenarios/two_devices.yaml", str(small))
    exec(compile(code, "policies.md", "exec"), {})
    assert re.fullmatch(r"\S+ J a device and \S+ s in 3 rounds\n", capsys.readouterr().out)
