"""A model as a value has what PyTorch knows of it: what is frozen, tied, not persistent, no floating-point number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from odd_networks import HIDDEN, Odd, odd_run
from tiny_task import models_of
from torch import nn

from learners.networks.state import Lent, layout_of, take
from learners.training.optimizers import Rule, Single
from netsim.core.errors import ScenarioError

PLAIN = 20 * HIDDEN + HIDDEN + 2 * (HIDDEN**2 + HIDDEN)
"""Weights and biases of three linear layers: 312."""


@pytest.mark.parametrize(
    "kind, trained, sent, size",
    [
        ("plain", PLAIN, PLAIN, PLAIN),
        ("frozen", PLAIN - 21 * HIDDEN, PLAIN - 21 * HIDDEN, PLAIN),
        ("tied", PLAIN - HIDDEN**2, PLAIN - HIDDEN**2, PLAIN - HIDDEN**2),
        ("bn", PLAIN + 2 * HIDDEN, PLAIN + 4 * HIDDEN, PLAIN + 4 * HIDDEN + 1),
        ("constant", PLAIN, PLAIN, PLAIN + 1),
        ("boolean", PLAIN, PLAIN, PLAIN + HIDDEN),
        ("integer", PLAIN, PLAIN, PLAIN + HIDDEN),
        ("complex", PLAIN, PLAIN, PLAIN + 2 * HIDDEN),
        ("scalar", PLAIN + 1, PLAIN + 1, PLAIN + 1),
    ],
)
def test_numbers_are_trained_sent_or_kept(kind: str, trained: int, sent: int, size: int) -> None:
    layout = layout_of(Odd(kind, 20))
    assert (layout.weights, layout.sent, layout.size) == (trained, sent, size)


@pytest.mark.parametrize("kind", ["plain", "tied", "bn", "constant", "boolean", "integer", "complex"])
def test_a_module_that_was_lent_a_state_is_the_module_it_was_taken_from(kind: str) -> None:
    """Also in what lies in no row as it is; both names of a tied weight, and ``state_dict`` has both."""
    first, second = Odd(kind, 20), Odd(kind, 20)
    part = take({"trunk": first})["trunk"]
    Lent(second, part)
    x = torch.randn(5, 20)
    torch.testing.assert_close(second.eval()(x), first.eval()(x), rtol=0, atol=0)
    for name, tensor in first.state_dict().items():
        assert part[name].equal(tensor) and second.state_dict()[name].equal(tensor), name
        assert second.state_dict()[name].dtype == tensor.dtype


def test_tied_weights_stay_tied_in_training() -> None:
    net = Odd("tied", 20)
    part = take({"trunk": net})["trunk"]
    lent = Lent(net, part)
    net(torch.randn(5, 20)).sum().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    after = lent.part()
    assert net.c.weight is net.b.weight
    assert after["c.weight"].equal(after["b.weight"]) and not after["b.weight"].equal(part["b.weight"])


def test_a_buffer_that_the_forward_pass_replaces_is_part_of_the_new_state() -> None:
    net = Odd("replaced", 20)
    lent = Lent(net, take({"trunk": net})["trunk"])
    net(torch.randn(5, 20))
    assert lent.part()["own"].equal(net.own) and bool(net.own.any())


def test_an_integer_that_float32_does_not_have_is_refused() -> None:
    net = nn.Linear(2, 2)
    net.register_buffer("ids", torch.tensor([2**24 + 1]))
    with pytest.raises(ScenarioError, match=r"buffer 'ids'.*keep it as a plain attribute"):
        take({"trunk": net})
    assert take({"trunk": net}, torch.float64)["trunk"]["ids"].item() == 2**24 + 1


@pytest.mark.parametrize("learner", ["dmml", "fedavg", "mhd", "fedmd", "fedzkt"])
def test_frozen_weights_never_move(learner: str, tmp_path: Path) -> None:
    simulation: Any = odd_run(tmp_path, "frozen", learner)
    simulation.run()
    states = {
        "dmml": lambda one: [(one._model.initial, own) for own in models_of(simulation).values()],
        "fedavg": lambda one: [(one._federation.initial, simulation.states[one.setup.server].parts)],
    }
    kept = simulation.learner
    pairs = (
        states[learner](kept)
        if learner in states
        else [(kept._devices.initial(k), state) for k, state in states_of(simulation).items()]
    )
    assert pairs
    for before, after in pairs:
        name = "trunk/features" if "trunk/features" in before else "trunk"
        assert after[name]["a.weight"].equal(before[name]["a.weight"])
        assert not after[name]["b.weight"].equal(before[name]["b.weight"])


def states_of(simulation: Any) -> dict[int, Any]:
    """Each device's model; that of a device of FedZKT is the server's."""
    server = simulation.states.get(4)
    if server and "devices" in server:
        return dict(server["devices"])
    return {k: state["model"] for k, state in simulation.states.items() if "model" in state}


@pytest.mark.parametrize("jobs", [{"stacking": "on"}, {"stacking": "auto", "executor": "auto"}])
def test_frozen_weights_do_not_move_in_stacks_either(jobs: dict[str, Any], tmp_path: Path) -> None:
    simulation: Any = odd_run(tmp_path, "frozen", **jobs)
    simulation.run()
    before = simulation.learner._model.initial["trunk/features"]
    for state in models_of(simulation).values():
        assert state["trunk/features"]["a.weight"].equal(before["a.weight"])


def test_what_is_frozen_is_neither_sent_nor_remembered_by_an_optimizer(tmp_path: Path) -> None:
    """16 inputs: 32 bits for each of the first layer's 136 numbers; a gradient and Adam's two, 12 bytes for each."""
    plain: Any = odd_run(tmp_path, "plain").learner
    frozen: Any = odd_run(tmp_path, "frozen").learner
    first_layer = 17 * HIDDEN
    assert plain.facts()["bits"]["features"] - frozen.facts()["bits"]["features"] == 32 * first_layer
    spared = plain.training_memory_bytes(0) - frozen.training_memory_bytes(0)
    assert spared >= 12 * first_layer


class Sometimes(nn.Module):
    """A weight that is frozen, one that is always used, and one that is used by every other batch."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.rare, self.always = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    def forward(self, n: int) -> torch.Tensor:
        x = self.frozen * self.always * (n + 1)
        return (x + self.rare if n % 2 else x).square().sum()


@pytest.mark.parametrize("name, momentum", [("adam", 0.0), ("sgd", 0.9)])
def test_an_optimizer_that_is_made_anew_each_round_goes_on_as_one_that_is_kept(
    name: Any, momentum: float
) -> None:
    """Eighteen steps in three rounds against PyTorch's own optimizer, kept alive; step counts are each weight's own."""
    torch.manual_seed(0)
    kept, anew = Sometimes(), Sometimes()
    rule = Rule(name, 0.01, momentum)
    own = (
        torch.optim.Adam(kept.parameters(), 0.01)
        if name == "adam"
        else torch.optim.SGD(kept.parameters(), 0.01, momentum)
    )
    memories: Any = {}
    state = take({"part": anew})["part"]
    for round in range(3):
        lent = Lent(anew, state)
        optimizer = Single(rule, {"part": anew}, {"part": state.layout}, memories)
        for n in range(6):
            for net, steps in ((kept, own), (anew, optimizer)):
                net(6 * round + n).backward()
                steps.step()  # type: ignore[attr-defined]
            own.zero_grad()
        state, memories = lent.part(), optimizer.memories()
    for weight in ("frozen", "rare", "always"):
        torch.testing.assert_close(state[weight], getattr(kept, weight).detach(), rtol=1e-5, atol=1e-6)
    if name == "adam":
        assert float(memories["part"]["step"]) == 18 and memories["part"]["missed"].tolist() == [9, 0]


def test_the_step_count_of_a_part_whose_first_weight_is_frozen_goes_on(tmp_path: Path) -> None:
    simulation: Any = odd_run(tmp_path, "frozen", rounds=3)
    simulation.run()
    steps = 3 * simulation.learner.facts()["iterations_per_round"][0]
    assert float(simulation.states[0].memories["trunk/features"]["step"]) == steps > 0


def test_a_frozen_layer_keeps_its_weights_where_others_are_drawn_anew() -> None:
    from learners.training.distillation.per_device import glorot

    net = Odd("frozen", 20)
    before = net.a.weight.clone()
    net.apply(glorot)
    assert net.a.weight.equal(before) and not bool(net.b.bias.any())
