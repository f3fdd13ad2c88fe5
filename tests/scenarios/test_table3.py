"""The paper's Table III: energy per device of DMML over 80 rounds, from Table II's costs (DMML-KD, Section V).

Computing: 34 iterations × 80 rounds × 5.775 J = 15,708 J. Sending: about 1,870 J, depending on the topology.
"""

import json

import numpy as np
import pytest

UNTRAINED = (
    "learner.name=dmml",
    "jobs.executor.name=learners.dmml.untrained:Untrained",
    "data.surrogate_clips=120",
    "data.audio_shape=[16, 12]",
    "data.image_size=16",
    "evaluation.every=80",
    "evaluation.samples=1",
    "learner.networks.audio.widths=[8]",
    "learner.networks.visual.widths=[8]",
)


def test_mean_energy_of_dmml_over_ten_topologies(run_scenario):
    totals = []
    for seed in range(10):
        folder = run_scenario("crema_12dev", *UNTRAINED, f"seed={seed}", run_id=str(seed))
        energy = json.loads((folder / "summary.json").read_text())["energy_per_device_j"]
        assert energy["compute"] == pytest.approx(34 * 80 * 5.77500492, rel=1e-9)
        totals.append(energy["mean"])
    assert min(totals) > 1.70e4 and max(totals) < 1.82e4
    assert np.mean(totals) == pytest.approx(1.758e4, rel=0.02)
