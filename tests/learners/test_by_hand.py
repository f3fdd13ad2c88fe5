"""Learners that average on two numbers that can be worked out in the head, each in a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retiming import netsim
from safetensors.torch import load_file, save_file

from learners.data.dataset import DataSource, MultimodalDataset
from netsim.scenario.yaml_file import write_yaml


class TwoNumbers(DataSource):
    """Device 0 has x = 1 and t = 2, device 1 has x = 1 and t = 4."""

    MODALITIES = ("x",)

    def check(self) -> None:
        """Nothing can be missing."""

    def load(self, seed: int, cache_dir: Path, say: Any) -> MultimodalDataset:
        """Return it; it is tested on the same."""
        return MultimodalDataset(
            name="two numbers",
            classes=(),
            inputs={"x": torch.ones(4, 1)},
            labels=torch.tensor([2.0, 4.0, 2.0, 4.0]),
            groups=np.arange(4) % 2,
            train=np.arange(2),
            test=np.arange(2, 4),
        )


SGD = {"loss": "mse", "learning_rate": 0.25, "momentum": 0, "weight_decay": 0, "validation_share": 0}
WALK = {"transition": "uniform"}
SERVER = "server_rounds"


@pytest.mark.parametrize(
    ("name", "options", "protocol", "expected"),
    [
        ("fedavg", {}, SERVER, [[1.5], [1.5]]),
        ("fedavg", {}, "decentralized_rounds", [[1.5, 1.5], [1.5, 1.5]]),
        ("fedavg", {"local_steps": 2}, SERVER, [[1.5], [1.5]]),
        ("isolated", {"of": "fedavg"}, "decentralized_rounds", [[1.0, 2.0], [1.0, 2.0]]),
        ("centralized", {"of": "fedavg", "batch_size": 2}, "decentralized_rounds", [[1.5], [1.5]]),
        ("scaffold", {}, SERVER, [[1.5], [1.5]]),
        ("gradient_tracking", {}, "decentralized_rounds", [[1.5, 1.5], [1.5, 1.5]]),
        ("random_walk", WALK, "decentralized_rounds", [[1.0, 1.0], [1.0, 2.0]]),
    ],
)
def test_two_rounds_by_hand(
    tmp_path: Path, name: str, options: dict[str, Any], protocol: str, expected: list[list[float]]
) -> None:
    """From w = b = 0 the prediction w x + b is w + b; both weights have the gradient 2 (w + b − t), times η = ¼.

    * One step from 0 makes w = b = t/2: 1 on device 0 and 2 on device 1; a second one finds w + b = t, and stays.
    * fedavg: the mean is 1.5, by a server or between two neighbours of weight ½ each. From there w + b = 3 is wrong by
      1 and −1: devices go to 1 and 2, whose mean is 1.5 again.
    * isolated: each stays at its own. centralized: the mean gradient of both samples is −6, so 1.5, which fits best.
    * scaffold: after round 1 c_0 = −4, c_1 = −8, c = −6; in round 2 gradients 2 and −2 become 2 + 4 − 6 = 0 and
      −2 + 8 − 6 = 0, so that nobody moves. gradient_tracking corrects by the same numbers.
    * random_walk: device 0 trains to 1 and passes it on; device 1 finds 2 wrong by −2, and goes to 2, the end.
    """
    save_file(
        {"fusion.0.weight": torch.zeros(1, 1), "fusion.0.bias": torch.zeros(1)}, tmp_path / "0.safetensors"
    )
    learner = {"name": name, **SGD, "networks": {"x": "identity"}, "initial": "0.safetensors", **options}
    tree = {
        "rounds": 2,
        "devices": {"count": 2},
        "topology": {"placement": {"name": "disc", "diameter_m": 20}},
        "protocol": protocol,
        "data": {"name": f"{__name__}:TwoNumbers"},
        "partition": "natural",
        "learner": learner,
        "models": {"keep": "all", "every": 1},
        "jobs": {"executor": "inline", "stacking": "off"},
    }
    (tmp_path / "two.yaml").write_text(write_yaml(tree))
    words = ("--runs", tmp_path, "--run-id", "a", "--no-plots", "-q")
    done = netsim("run", tmp_path / "two.yaml", *words)
    assert done.exit_code == 0, done.output
    for round, numbers in enumerate(expected, start=1):
        files = sorted((tmp_path / "two" / "a" / "models" / f"round-{round:06d}").glob("*.safetensors"))
        found = [load_file(file) for file in files]
        for key in ("fusion.0.weight", "fusion.0.bias"):
            assert [one[key].item() for one in found] == pytest.approx(numbers, abs=1e-6), key
