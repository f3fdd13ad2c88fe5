r"""Which models of the network leave rounds computed as arrays, and what each costs beside the plain world.

    python benchmarks/new_models.py --devices 1000 --turns 5

Decentralized rounds of a learner that learns nothing, all devices and links; processor time from the first event to the
last, of all models in turns, each divided by that of the plain world in the same turn: median (lowest to highest).
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from netsim.app.build import build
from netsim.protocols import decentralized
from netsim.scenario import load_plan

BATTERY = {"capacity_j": 1e6}
MODELS: dict[str, dict[str, Any]] = {
    "plain: free space, Rayleigh, Shannon": {},
    "shadowing, correlated in space": {"radio": {"path_loss": {"name": "free_space", "shadowing": {}}}},
    "TR 38.901 `inf_dh`": {"radio": {"path_loss": {"name": "inf_dh", "extrapolate": True}}},
    "Rician": {"radio": {"channel": {"name": "rician", "k_db": 6}}},
    "Nakagami": {"radio": {"channel": {"name": "nakagami", "m": 2}}},
    "antenna gains, noise figure": {"devices": {"antenna_gain_dbi": 3, "noise_figure_db": 7}},
    "Shannon with gap and cap": {"radio": {"rate": {"name": "shannon", "gap_db": 3, "cap_bps_per_hz": 5}}},
    "clock frequencies, just in time": {
        "devices": {
            "processor": {
                "frequencies_hz": [5e8, 1e9],
                "governor": "just_in_time",
                "compute_deadline_s": 0.15,
                "static_power_w": 0.1,
            }
        }
    },
    "mobility, updates every second": {
        "mobility": {"name": "random_waypoint", "diameter_m": "whole", "speed_mps": [1, 10]}
    },
    "gains redrawn every second": {"radio": {"channel": {"name": "rayleigh", "coherence_time_s": 1}}},
    "schemes with lost blocks (`mcs`)": {"radio": {"rate": "mcs"}},
    "linear batteries": {"devices": {"battery": BATTERY}},
    "KiBaM": {"devices": {"battery": {"name": "kibam", **BATTERY}}},
    "harvesters": {"devices": {"battery": BATTERY, "harvest": {"name": "constant", "power_w": 0.01}}},
    "policies of power": {"policies": {"tx_power": {"name": "channel_aware", "snr_db": 20}}},
}


def world(devices: int, rounds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """A scenario with six neighbours in the mean, changed."""
    diameter_m = 115.5 * math.sqrt(devices)
    found: dict[str, Any] = {
        "rounds": rounds,
        "devices": {"count": devices},
        "topology": {
            "placement": {"name": "disc", "diameter_m": diameter_m},
            "links": {"name": "range", "range_m": 141.4},
            "require_connected": False,
        },
        "learner": {"name": "stub"},
    }
    for block, values in changes.items():
        here = {key: diameter_m if value == "whole" else value for key, value in values.items()}
        found[block] = {**found.get(block, {}), **here}
    return found


def measure(devices: int, rounds: int, changes: dict[str, Any]) -> tuple[float, bool]:
    """Processor time of the rounds [s], and whether they were computed as arrays."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "world.yaml"
        file.write_text(yaml.safe_dump(world(devices, rounds, changes)))
        simulation = build(load_plan(file, ()), Path(name), lambda text: None)
        with mock.patch.object(decentralized, "RoundsAtOnce", wraps=decentralized.RoundsAtOnce) as at_once:
            begin_s = time.process_time()
            simulation.run()
            return time.process_time() - begin_s, at_once.called


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What the models of the network cost.")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    words = parser.parse_args()
    measure(10, 1, {})  # imports
    spent: dict[str, list[float]] = {name: [] for name in MODELS}
    arrays = {}
    for _ in range(words.turns):
        for name, changes in MODELS.items():
            seconds, arrays[name] = measure(words.devices, words.rounds, changes)
            spent[name].append(seconds)
    plain = spent[next(iter(MODELS))]
    print("| model | rounds as arrays | processor time beside the plain world |\n| --- | --- | --- |")
    for name, seconds in spent.items():
        ratios = [one / other for one, other in zip(seconds, plain, strict=True)]
        low, high = min(ratios), max(ratios)
        says = f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        if name == next(iter(MODELS)):
            says = f"{min(plain):.2f} s (the fastest of {words.turns})"
        print(f"| {name} | {'yes' if arrays[name] else 'no, by events'} | {says} |")


if __name__ == "__main__":
    main()
