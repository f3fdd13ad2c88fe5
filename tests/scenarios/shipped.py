"""Which scenarios are shipped, how they are made short, and what data they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DATA_FOLDER = Path(os.environ.get("NETSIM_DATA", ROOT.parent / "shared" / "data"))

DATA = {
    "avdigits_12dev": DATA_FOLDER,
    "decentralized_ravdess": DATA_FOLDER / "ravdess",
    "fedhgb_fashion": DATA_FOLDER / "FashionMNIST",
    "fedhgb_ravdess": DATA_FOLDER / "ravdess",
    "fedhgb_utd": DATA_FOLDER / "utd_mhad",
    "ravdess_12dev": DATA_FOLDER / "ravdess",
}
"""Folder of the real data that a scenario needs; the others make do with generated data."""

# DMML-KD, whose iterations do not hang on a comparison of learnt numbers as those of the balance do: then seconds and
# joules are the same wherever it runs. two_devices.yaml keeps the balance, with the tolerance of an iteration.
SHORT: dict[str, tuple[str, ...]] = {
    "two_devices": ("rounds=3",),
    "crema_12dev": (
        "learner.name=dmml_kd",
        "data.surrogate_clips=480",
        "costs.stated.iterations=3",
        "rounds=3",
        "evaluation.samples=24",
    ),
    "ravdess_12dev": ("learner.name=dmml_kd", "rounds=3", f"data.root={DATA['ravdess_12dev']}"),
    "avdigits_12dev": (
        "learner.name=dmml_kd",
        "rounds=2",
        "data.train_pairs=480",
        "data.test_pairs=60",
        f"data.root={DATA['avdigits_12dev']}",
    ),
    "decentralized_ravdess": (
        "learner.name=dmml",
        "rounds=2",
        "evaluation.samples=40",
        "learner.local_epochs=1",
        f"data.root={DATA['fedhgb_ravdess']}",
    ),
    "fedhgb_fashion": ("rounds=2", "evaluation.samples=40", f"data.root={DATA_FOLDER}"),
    "fedhgb_ravdess": ("rounds=2", "learner.local_epochs=1", f"data.root={DATA['fedhgb_ravdess']}"),
    "fedhgb_utd": ("rounds=2", "learner.local_epochs=1", f"data.root={DATA['fedhgb_utd']}"),
    # On the digits that stand in, wherever it runs.
    "dpsgd_fashion": ("rounds=2", "data.root=nowhere", "evaluation.samples=40"),
    "async_gossip_stragglers": (
        "rounds=3",
        "protocol.duration_s=40",
        "data.root=nowhere",
        "evaluation.samples=40",
        "learner.local_steps=2",
    ),
    "hierarchical_edge": ("rounds=3", "protocol.edge_rounds=2", "data.root=nowhere", "evaluation.samples=40"),
    "mobile_12dev": ("rounds=3", "data.root=nowhere", "evaluation.samples=40"),
    "battery_death": (
        "rounds=3",
        "data.root=nowhere",
        "evaluation.samples=40",
        "devices.overrides.0.battery.capacity_j=0.1",
    ),
    "dvfs_deadline": ("rounds=2", "data.root=nowhere", "evaluation.samples=40"),
    "solar_sensors": (
        "rounds=8",
        "data.root=nowhere",
        "evaluation.samples=40",
        "devices.battery.capacity_j=12",
        "devices.harvest.start_h=4",
    ),
    "umi_campus": ("rounds=2", "data.root=nowhere", "evaluation.samples=40"),
    "fedavg_fashion": ("rounds=2", "data.root=nowhere", "evaluation.samples=40"),
    "fedmd_fashion": (
        "rounds=2",
        "data.root=nowhere",
        "learner.public.root=nowhere",
        "learner.public_epochs=1",
        "learner.private_epochs=1",
        "learner.revisit_epochs=1",
        "learner.alignment_samples=100",
        "evaluation.samples=40",
    ),
    "fedzkt_fashion": (
        "rounds=2",
        "data.root=nowhere",
        "learner.local_epochs=1",
        "learner.distillation_iterations=2",
        "evaluation.samples=40",
    ),
    "mhd_fashion": ("rounds=2", "data.root=nowhere", "learner.local_steps=3", "evaluation.samples=40"),
}


def needs(name: str) -> None:
    """Skip the test where the scenario's data is not here."""
    if name in DATA and not DATA[name].is_dir():
        pytest.skip(f"{name} needs real data that is not here; set NETSIM_DATA to the folder that holds it")
