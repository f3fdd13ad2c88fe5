"""Labels that are real numbers: losses and metrics by hand, what averaging comes to, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retiming import netsim

import netsim as simulator
from learners.training.objectives import loss_of
from learners.training.scores import MAE, MSE, R2, Predicted
from netsim.core.options import NoOptions
from netsim.scenario.yaml_file import parse_value, write_yaml

GUIDE = Path(__file__).parents[2] / "docs/guides/bring_your_own.md"


@pytest.mark.parametrize(("kind", "value"), [("mse", 5.0), ("mae", 2.0), ("huber", 1.5)])
def test_losses_by_hand(kind: str, value: float) -> None:
    """Predictions 1 and 4 of 2 and 1 are wrong by −1 and 3: (1 + 9)/2, (1 + 3)/2, and (1/2 + (3 − 1/2))/2.

    Of several devices each has its own; one whose second sample is padding has 1, 1 and 1/2 of its first.
    """
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 1.0])
    assert loss_of(kind, outputs, targets).item() == value
    assert loss_of(kind, outputs, targets, summed=True).item() == 2 * value
    real = torch.tensor([[True, True], [True, False]])
    found = loss_of(kind, outputs.expand(2, 2, 1), targets.expand(2, 2), real)
    assert found.tolist() == [value, 0.5 if kind == "huber" else 1.0]


def test_metrics_by_hand() -> None:
    """1, 2, 4 of 1, 3, 5: errors 0, 1, 1, so 2/3 both; around the mean 3 the labels have 4 + 0 + 4, so R² = 1 − 2/8."""
    values, targets = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 5.0])
    predicted = Predicted(values, targets, np.full(3, 1 / 3))
    found = [kind(NoOptions()).values(predicted)[""] for kind in (MSE, MAE, R2)]
    assert found == pytest.approx([2 / 3, 2 / 3, 0.75])
    assert np.isnan(R2(NoOptions()).values(Predicted(values, np.ones(3), predicted.weights))[""])


@pytest.fixture(scope="module")
def folder_of_guide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The data set of the guide in a folder, and its scenario."""
    folder = tmp_path_factory.mktemp("guide")
    blocks = [one.split("\n", 1)[1] for one in GUIDE.read_text().split("```")[1::2]]
    (folder / "flats.py").write_text(next(block for block in blocks if "class Flats" in block))
    return folder, parse_value(next(block for block in blocks if "flats:Flats" in block), "guide")


@pytest.fixture
def documented(
    folder_of_guide: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The scenario of the guide, whose data set lies in the current folder."""
    folder, tree = folder_of_guide
    monkeypatch.chdir(folder)
    return tree


def run(tree: dict[str, Any], **blocks: Any) -> Path:
    Path("flats.yaml").write_text(write_yaml({**tree, **blocks}))
    done = netsim("run", "flats.yaml", "--run-id", "a", "--no-plots", "-q")
    assert done.exit_code == 0, done.output
    return Path("runs/flats/a")


def last(folder: Path, name: str) -> float:
    rows = simulator.load(folder).metrics
    rows = rows[rows["name"] == name]
    return float(rows[rows["round"] == rows["round"].max()].value.mean())


def test_averaging_comes_to_least_squares(documented: dict[str, Any]) -> None:
    """A linear model, whole batches and one step a round are gradient descent on all samples together."""
    learner = {
        **{"name": "fedavg", "loss": "mse", "networks": {"flat": "identity"}, "batch_size": 500},
        **{"momentum": 0, "weight_decay": 0, "validation_share": 0, "learning_rate": 0.3},
    }
    folder = run(
        documented, learner=learner, protocol="server_rounds", devices={"count": 5}, models={"keep": "last"}
    )
    data = _flats()
    x, y = data.inputs["flat"].double().numpy(), data.labels.double().numpy()
    with_one = np.column_stack([x, np.ones(len(x))])
    best, *_ = np.linalg.lstsq(with_one[data.train], y[data.train], rcond=None)
    error = with_one[data.test] @ best - y[data.test]
    assert last(folder, "mse") == pytest.approx((error**2).mean(), rel=1e-3)
    assert last(folder, "mae") == pytest.approx(np.abs(error).mean(), rel=1e-3)
    assert last(folder, "r2") == pytest.approx(1 - (error**2).mean() / y[data.test].var(), rel=1e-3)
    assert last(folder, "loss_test") == pytest.approx(last(folder, "mse"), rel=1e-5)
    assert "accuracy" not in set(simulator.load(folder).metrics["name"])
    inputs, targets = simulator.load_test(folder)
    found = ((simulator.load_model(folder).logits(inputs).squeeze(1) - targets) ** 2).mean().item()
    assert found == pytest.approx(last(folder, "mse"), rel=1e-5)


def _flats() -> Any:
    space: dict[str, Any] = {}
    exec(Path("flats.py").read_text(), space)
    return space["Flats"](NoOptions()).load(0, Path(), str)


@pytest.mark.parametrize(
    ("blocks", "line"),
    [
        ({"learner": {"name": "dmml"}}, "learner: needs classes"),
        ({"learner": {"name": "mhd"}}, "learner: needs classes"),
        ({"learner": {"name": "fedavg"}}, "use mse, mae or huber"),
        ({"partition": {"name": "dirichlet"}}, "use partition iid or natural"),
        ({"evaluation": {"metrics": ["macro_f1"]}}, "use mae, mse, r2"),
        ({"evaluation": {"own_share": True}}, "evaluation.own_share: is about classes"),
        ({"models": {"keep": "best"}}, "has no metric 'accuracy'"),
        ({"data": {"name": "generated"}}, "learner.loss: mse is not for the labels of generated data"),
    ],
)
def test_what_needs_classes_says_so_before_the_run(
    documented: dict[str, Any], blocks: dict[str, Any], line: str
) -> None:
    tree = {**documented, "evaluation": {}, **blocks}
    if "data" in blocks:
        tree["learner"] = {"name": "fedavg", "loss": "mse"}
    Path("flats.yaml").write_text(write_yaml(tree))
    done = netsim("run", "flats.yaml", "--no-plots", "-q")
    assert done.exit_code == 2 and line in done.output and done.output.count("\n") == 1, done.output
