"""Which scenarios are shipped, how they are made short, and what data they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netsim.scenario.regressions import read_plan
from netsim.scenario.yaml_file import as_settings

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

SHORT = {
    name: tuple(as_settings(case.set))
    for name, case in (read_plan(ROOT / "scenarios").scenarios or {}).items()
}
"""What makes each scenario short, as its regression says (scenarios/expected/regressions.yaml).

DMML-KD takes the balance's place, for its iterations do not hang on a comparison of learnt numbers: then seconds and
joules are the same wherever it runs. two_devices.yaml keeps the balance, with the tolerance of an iteration.
"""


def needs(name: str) -> None:
    """Skip the test where the scenario's data is not here."""
    if name in DATA and not DATA[name].is_dir():
        pytest.skip(f"{name} needs real data that is not here; set NETSIM_DATA to the folder that holds it")
