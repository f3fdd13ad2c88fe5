"""The dual form of a first layer: the weights that SGD would have made, and their mean without them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from learners.networks.folded import connect
from learners.networks.mlp import MLPTrunk
from learners.networks.state import Part, Row, layout_of
from learners.training.dual_form import DualForm, has_dual_form, late_sources
from learners.training.optimizers import Rows, Rule
from learners.training.stack import stacked
from netsim.work.packing import ALL, company, pack, unpack_values

INPUTS, UNITS, COUNTS, TRAINED = 40, 3, (6, 4), (5, 2)
RULE = Rule("sgd", 0.1, momentum=0.9, weight_decay=0.05, proximal=0.3)


def parts(count: int) -> list[Part]:
    """Trunks with different weights, the first two alike."""
    trunk = MLPTrunk(INPUTS, [UNITS])
    layout = layout_of(trunk)
    random = torch.Generator().manual_seed(0)
    banks = torch.randn(count, layout.size, dtype=torch.float64, generator=random)
    return [Part(Row(banks, max(k - 1, 0)), layout) for k in range(count)]


def samples() -> tuple[Tensor, list[slice]]:
    x = torch.randn(sum(COUNTS), INPUTS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, [slice(0, TRAINED[0]), slice(COUNTS[0], COUNTS[0] + TRAINED[1])]


def loss(outputs: Tensor) -> Tensor:
    """Of outputs [..., D, B]: not quadratic, and different for each number."""
    weights = (1.0 + torch.arange(outputs[0].numel(), dtype=torch.float64)).cos().view(outputs.shape[-2:])
    return (outputs.sigmoid() * weights).sum()


def in_weights(start: Part, x: Tensor, steps: int) -> Tensor:
    """W after ``steps`` on samples ``x``, by PyTorch's own optimizer."""
    weight = nn.Parameter(start["layers.0.weight"].clone())
    first = weight.detach().clone()
    optimizer = torch.optim.SGD([weight], RULE.learning_rate, RULE.momentum, weight_decay=RULE.weight_decay)
    for _ in range(steps):
        optimizer.zero_grad()
        total = loss((weight @ x.T)[None]) + RULE.proximal / 2 * (weight - first).square().sum()
        total.backward()
        optimizer.step()
    return weight.detach()


def in_dual_form(starts: list[Part], steps: int) -> list[Part]:
    """The same for two devices at once, each on its training samples."""
    x, places = samples()
    form = DualForm("layers.0.weight", starts, x, places)
    bank = stacked(form.parts(), trains=True)
    optimizer = Rows(RULE, bank.weights, [None, None])
    rows = nn.utils.rnn.pad_sequence([torch.arange(place.start, place.stop) for place in places], True)
    inputs = form.inputs[rows].transpose(1, 2)
    bias = bank.tensors["layers.0.bias"].detach()[:, :, None]
    for _ in range(steps):
        found = connect(inputs, bank.tensors, "layers.0") - bias
        total = loss(found[:1]) + loss(found[1:, :, : TRAINED[1]])
        (slopes,) = torch.autograd.grad(total, [bank.leaves["layers.0.coefficients"]])
        columns = bank.layout.entries["layers.0.coefficients"].columns
        optimizer.take_step(
            optimizer.pulled_back([(columns, slopes.reshape(2, -1))], None, slice(None)), None
        )
    return form.restored([Part(Row(bank.flat.detach(), k), bank.layout) for k in range(2)])


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_steps_on_coefficients_are_steps_on_weights(steps: int) -> None:
    """Momentum, weight decay and a proximal term together, for devices with 5 and 2 samples of 40 inputs."""
    starts = parts(2)
    x, places = samples()
    for start, place, part in zip(starts, places, in_dual_form(starts, steps), strict=True):
        expected = in_weights(start, x[place], steps)
        torch.testing.assert_close(part["layers.0.weight"], expected, rtol=1e-12, atol=1e-13)
        assert part["layers.0.bias"].equal(start["layers.0.bias"])


@pytest.mark.parametrize("same", [True, False])
def test_a_mean_needs_no_weights(same: bool) -> None:
    """From one start, or from two: it is the mean of the rows, which are not made for it."""
    starts = parts(3)[:2] if same else parts(3)[1:]
    found = in_dual_form(starts, 4)
    ((source, places),) = late_sources({key: part.row for key, part in zip("ab", found, strict=True)}).items()
    assert places == {"a": 0, "b": 1}
    mean = source.mean({0: 0.3, 1: 0.9})
    assert "bank" not in source.__dict__
    torch.testing.assert_close(mean, 0.3 * found[0].row.tensor + 0.9 * found[1].row.tensor)


def test_a_snapshot_keeps_the_dual_form_and_a_message_between_processes_does_not() -> None:
    """Sums and distances then go on from the same numbers, in the same order: they have the same bytes."""
    found = in_dual_form(parts(3)[1:], 4)
    ((source, _),) = late_sources(dict(enumerate(part.row for part in found))).items()
    expected = source.mean({0: 0.3, 1: 0.9}), source.distance(0), source.bank
    with company(ALL):
        buffers = pack(found)
    again = unpack_values(buffers, ["learners"])
    ((kept, places),) = late_sources(dict(enumerate(part.row for part in again))).items()
    assert places == {0: 0, 1: 1} and "bank" not in kept.__dict__ and "inputs" not in kept.form.__dict__
    for one, other in zip((kept.mean({0: 0.3, 1: 0.9}), kept.distance(0), kept.bank), expected, strict=True):
        assert one.equal(other)
    sent = unpack_values(pack(found), ["learners"])
    assert not late_sources(dict(enumerate(part.row for part in sent)))
    assert all(one.row.tensor.equal(other.row.tensor) for one, other in zip(sent, found, strict=True))


@pytest.mark.parametrize("steps", [0, 4])
def test_a_distance_needs_no_weights(steps: int) -> None:
    """It is the norm of what the weights differ from those at the beginning, which weight decay changes too."""
    starts = parts(2)
    found = in_dual_form(starts, steps)
    ((source, _),) = late_sources({k: part.row for k, part in enumerate(found)}).items()
    distances = [source.distance(k) for k in range(2)]
    assert "bank" not in source.__dict__
    for distance, part, start in zip(distances, found, starts, strict=True):
        expected = (part["layers.0.weight"] - start["layers.0.weight"]).norm()
        torch.testing.assert_close(distance, expected, rtol=1e-12, atol=1e-12)
        assert (distance > 0) == (steps > 0)


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({}, True),
        ({"rule": Rule("adam", 0.1)}, False),  # its steps are not linear in the gradients
        ({"samples": 9}, False),  # 40 inputs are not more than 2 (2 · 9 + 3)
        ({"samples": 8}, True),
        ({"trunk": MLPTrunk(INPUTS, [])}, False),
    ],
)
def test_when_it_is_less_work(changes: dict, has: bool) -> None:  # type: ignore[type-arg]
    trunk = changes.get("trunk", MLPTrunk(INPUTS, [UNITS]))
    assert has is has_dual_form(trunk, layout_of(trunk), changes.get("rule", RULE), changes.get("samples", 5))
