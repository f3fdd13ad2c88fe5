"""A network of a user's own that breaks its promises is one line that names it, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from learners.networks.network import Network, Trunk
from netsim.app.build import build
from netsim.core.errors import ScenarioError
from netsim.scenario.loading import load_plan
from netsim.scenario.yaml_file import write_yaml


class Wrong(Trunk):
    """A linear layer that gives three features of each sample, as ``gives`` has them."""

    def __init__(self, feature_count: Any, gives: str = "") -> None:
        super().__init__()
        self.layer, self.gives = nn.Linear(5, 3), gives
        self.feature_count = feature_count

    def forward(self, x: Tensor) -> Any:
        found = torch.relu(self.layer(x.double() if self.gives == "double" else x))
        forms = {"tuple": (found, x), "sequence": found[:, None], "whole": found.long()}
        return forms.get(self.gives, found)


def fails() -> nn.Module:
    raise KeyError("width")


BUILDS = {
    "NoTrunk": lambda: nn.Linear(5, 3),
    "Uncounted": lambda: Wrong(3.0),
    "Fails": fails,
    "Miscounted": lambda: Wrong(4),
    "Pair": lambda: Wrong(3, "tuple"),
    "Sequence": lambda: Wrong(3, "sequence"),
    "Whole": lambda: Wrong(3, "whole"),
    "Double": lambda: Wrong(3, "double").double(),
}


def _network(name: str) -> type[Network]:
    return type(name, (Network,), {"__module__": __name__, "build": lambda self, shape: BUILDS[name]()})


globals().update({name: _network(name) for name in BUILDS})

LEARNERS: dict[str, dict[str, Any]] = {
    "dmml": {},
    "fedavg": {"protocol": {"name": "server_rounds"}},
    "mhd": {"partition": {"name": "iid", "public_share": 0.2}},
}
STATED = {"flops_per_iteration": {"features": 1e6}, "bits": {"features": 1e6}}


@pytest.mark.parametrize("learner", [*LEARNERS, "stated dmml", "stated fedavg"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoTrunk", r"builds a Linear with feature_count None; it must be a learners.networks.network.Trunk"),
        ("Uncounted", r"feature_count 3\.0; .* a whole number, at least 1"),
        (
            "Fails",
            r"cannot be built for samples \[5\]: .*test_wrong_networks\.py, line \d+: KeyError: 'width'",
        ),
        (
            "Miscounted",
            r"gives \[2, 3\] of float32 for a batch of two samples; it must give features \[2, 4\]",
        ),
        ("Pair", r"gives a tuple for a batch"),
        ("Sequence", r"gives \[2, 1, 3\] of float32"),
        ("Whole", r"gives \[2, 3\] of int64"),
        ("Double", r"cannot take .*test_wrong_networks\.py, line \d+: RuntimeError: .*same dtype"),
    ],
)
def test_a_broken_promise_is_one_line(learner: str, name: str, words: str, tmp_path: Path) -> None:
    stated, _, name_of_learner = learner.rpartition(" ")
    scenario = {
        "rounds": 1,
        "devices": {"count": 2},
        "data": {"name": "generated", "samples": 40, "test_samples": 10, "shape": [5], "classes": 3},
        "partition": {"name": "iid"},
        "learner": {"name": name_of_learner, "networks": {"features": {"name": f"{__name__}:{name}"}}},
        "costs": {"stated": STATED} if stated else {},
        "jobs": {"device": "cpu"},
        **LEARNERS[name_of_learner],
    }
    if name_of_learner == "dmml":
        scenario["learner"]["architecture"] = "concat"
    file = tmp_path / "wrong.yaml"
    file.write_text(write_yaml(scenario))
    with pytest.raises(ScenarioError, match=rf"learner\.networks.*{words}") as found:
        build(load_plan(file, []), tmp_path, lambda text: None)
    assert "\n" not in str(found.value)
