"""The paper's Table III: energy per device of DMML over 80 rounds, from Table II's costs (DMML-KD, Section V).

Computing: 34 iterations × 80 rounds × 5.775 J = 15,708 J. Sending: about 3.55 J a message at these distances, so
80 × 3.55 = 284 J for each neighbour; with 6.45 neighbours in the mean 1,830 J, but from 1,400 J to 2,800 J between
topologies.
"""

import json

import numpy as np
import pandas as pd
import pytest

DRY_RUN = (
    "learner.name=dmml",
    "jobs.executor.name=learners.algorithms.dry_run:DryRun",
    "data.surrogate_clips=120",
    "data.audio_shape=[16, 12]",
    "data.image_size=16",
    "evaluation.every=80",
    "evaluation.samples=1",
    "learner.networks.audio.widths=[8]",
    "learner.networks.visual.widths=[8]",
)


def test_mean_energy_of_dmml_over_ten_topologies(run_scenario):
    """The paper's own topology is unknown; its totals are 1.737e4 and 1.749e4 J, the mean over topologies is 1.758e4 J.

    Two uniform points in the disc are linked with probability 0.5865, so the mean degree is 6.45 on average; seed 1
    drew one of 10.0 (of 3,000 placements 0.2 % are that dense), which alone puts it above the band that the other
    nine are in.
    """
    totals = []
    for seed in range(10):
        folder = run_scenario("crema_12dev", *DRY_RUN, f"seed={seed}", run_id=str(seed))
        energy = json.loads((folder / "summary.json").read_text())["energy_per_device_j"]
        assert energy["compute"] == pytest.approx(34 * 80 * 5.77500492, rel=1e-9)
        degree = pd.read_parquet(folder / "devices.parquet").degree.mean()
        # Ten per cent: distances differ between topologies, and airtimes have heavy tails.
        assert energy["sending"] == pytest.approx(80 * 3.55 * degree, rel=0.1)
        totals.append(energy["mean"])
    assert sum(1.70e4 < total < 1.82e4 for total in totals) == 9
    assert np.mean(totals) == pytest.approx(1.758e4, rel=0.02)
