"""What a network draws in its forward pass follows the run's seed, whoever runs the job, and nobody else's numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from odd_networks import odd_run
from tiny_task import Kept
from torch import Tensor, nn
from torch.nn import functional as F

from learners.checks import fingerprint
from learners.networks.randomness import DrawingFrom
from netsim.core.errors import ScenarioError

X = torch.linspace(-1, 1, 60).view(3, 4, 5).requires_grad_()
TWO_LAYERS = nn.LSTM(5, 5, 2, dropout=0.5)
DRAWS: dict[str, Any] = {
    "dropout": lambda: F.dropout(X),
    "dropout in place": lambda: F.dropout(X * 1, inplace=True),
    "alpha dropout": lambda: F.alpha_dropout(X, training=True),
    "channels": lambda: F.dropout1d(X),
    "rrelu": lambda: F.rrelu(X, training=True),
    "inside a kernel": lambda: TWO_LAYERS(X)[0],
    "attention": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.5),
    "rand": lambda: torch.rand(9),
    "randn": lambda: torch.randn(9),
    "randint": lambda: torch.randint(1, 999, (9,)),
    "randperm": lambda: torch.randperm(50),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X),
    "randint_like": lambda: torch.randint_like(X, 999),
    "bernoulli": lambda: torch.bernoulli(X.sigmoid()),
    "normal": lambda: torch.normal(X, 1.0),
    "uniform": lambda: torch.empty(9).uniform_(),
    "gumbel": lambda: F.gumbel_softmax(X),
    "multinomial": lambda: torch.multinomial(torch.ones(40), 20),
    "poisson": lambda: torch.poisson(9 * X.exp()),
    "reparametrised": lambda: torch.distributions.Normal(X, 1.0).rsample(),
    "takes no generator": lambda: torch.native_dropout(X, 0.5, True)[0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_an_operator_draws_from_the_seed_and_leaves_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()

    def drawn(seed: int) -> Tensor:
        with DrawingFrom(seed) as mode:
            found: Tensor = DRAWS[name]()
        assert mode.drawn
        return found

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert one.equal(same) and not one.equal(other)
    assert torch.get_rng_state().equal(before)


def test_what_is_handed_a_generator_keeps_it() -> None:
    expected = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    with DrawingFrom(1) as mode:
        found = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    assert found.equal(expected) and not mode.drawn


def test_threads_do_not_disturb_each_other() -> None:
    def drawn(seed: int) -> Tensor:
        with DrawingFrom(seed):
            return torch.cat([F.dropout(torch.ones(50)) for _ in range(40)])

    alone = [drawn(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(drawn, range(8)))
    assert all(one.equal(other) for one, other in zip(together, alone, strict=True))


def run_of(folder: Path, kind: str, learner: str, **jobs: Any) -> tuple[str, list[Any]]:
    simulation: Any = odd_run(folder, kind, learner, **jobs)
    kept = Kept()
    simulation.watch(kept)
    simulation.run()
    return fingerprint(kept.rows), kept.rows


@pytest.mark.parametrize("kind", ["dropout", "noise", "like"])
@pytest.mark.parametrize("learner", ["fedavg", "dmml"])
def test_one_seed_gives_the_same_bytes_on_every_executor(learner: str, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first, rows = run_of(tmp_path, kind, learner)
    torch.manual_seed(2)  # nobody's stream
    again, _ = run_of(tmp_path, kind, learner)
    assert again == first and rows
    for executor in ("threads", "processes") if kind == "dropout" else ("threads",):
        away, _ = run_of(tmp_path, kind, learner, executor={"name": executor, "workers": 2})
        assert away == first, executor
    if learner == "dmml":
        beside, _ = run_of(tmp_path, kind, learner, executor="forked")
        assert beside == first


@pytest.mark.parametrize("learner", ["mhd", "fedmd", "fedzkt"])
def test_distillation_too(learner: str, tmp_path: Path) -> None:
    first, rows = run_of(tmp_path, "dropout", learner)
    torch.manual_seed(5)
    away, _ = run_of(tmp_path, "dropout", learner, executor={"name": "threads", "workers": 2})
    assert away == first and rows


def test_a_backward_pass_that_draws_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"learner\.networks: .*backward pass.*checkpoint"):
        run_of(tmp_path, "checkpoint", "fedavg")
