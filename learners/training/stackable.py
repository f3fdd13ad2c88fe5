"""Trials of whether a scenario's networks can be stacked: run for several devices in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from learners.networks.built import built
from learners.networks.choice import NetworkChoice
from learners.networks.network import Trunk
from learners.networks.randomness import DrawingFrom
from learners.networks.state import Layout, Lent, Part, Row, State
from learners.training.stack import stacked
from netsim.work.measurement import in_words

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-2}
"""Largest error that counts as rounding, relative to the largest number; real errors are far larger."""

ROUNDING = 64
"""Error of a buffer that counts as rounding, in units in the last place of the largest number in the state."""

SAMPLES = 32
"""Largest number of samples of each device in a trial."""


def networks_obstacle(
    trunks: Mapping[str, Trunk],
    choices: Mapping[str, NetworkChoice],
    states: Sequence[State],
    inputs: Callable[[str], Tensor],
    trains: bool,
) -> str:
    """Return the reason why some of the networks cannot be stacked, as the end of a sentence; empty if all can.

    A choice is tried once, however many architectures have it.

    Args:
        trunks: Networks by modality; their part in a state is ``trunk/<modality>``.
        choices: The scenario's choices of them, by modality.
        states: States of two or more devices.
        inputs: Function from a modality to its network's inputs [devices, batch, ...].
        trains: Whether the networks are trained.
    """
    for m, trunk in trunks.items():
        parts, x = [state[f"trunk/{m}"] for state in states], inputs(m)
        tried = repr(choices[m]), x.shape[2:], x.dtype, x.device.type, parts[0].row.bank.dtype, trains
        reason = built(("obstacle", *tried), partial(trunk_obstacle, trunk, parts, x, trains))
        if reason:
            return f"network {choices[m].name!r} (modality {m}): {reason}"
    return ""


def some_of(rows: Sequence[Tensor], batch_size: int) -> Tensor:
    """Return the rows of samples for a trial, [devices, batch], out of those of each device, at least one.

    BatchNorm needs two samples. If a device has only one, it is used twice.
    """
    size = max(2, min(batch_size, SAMPLES, *map(len, rows)))
    return torch.stack([own[torch.arange(size) % len(own)] for own in rows])


def trunk_obstacle(trunk: Trunk, parts: Sequence[Part], x: Tensor, trains: bool) -> str:
    """Return the reason why ``trunk`` cannot be stacked, as the end of a sentence; empty if it can.

    Features, gradients and buffers are compared with those of each network alone. The weights of all networks but the
    first are changed for the trial, because an error that confuses equal networks would not be seen.

    Args:
        trunk: The network.
        parts: K states of it.
        x: Inputs [K, batch, *input_shape].
        trains: Whether it is trained.
    """
    parts = [_moved(part, 1.0 + 0.1 * k) for k, part in enumerate(parts)]
    trunk.train(trains)
    with DrawingFrom(0) as mode:
        each = [_alone(trunk, part, own, trains) for part, own in zip(parts, x, strict=True)]
    if mode.drawn:
        return "its forward pass draws random numbers, each device its own"
    try:
        found = _together(trunk, parts, x, trains)
    except Exception as error:
        return f"PyTorch cannot vectorise its forward pass ({in_words(error)})"
    expected = _Outcome(*(torch.stack(one) for one in zip(*each, strict=True)))
    tolerance = TOLERANCE.get(x.dtype, TOLERANCE[torch.float32])
    layout = parts[0].layout
    # A running mean may consist of rounding errors only, as after layers whose inputs have mean 0.
    sent = expected.rows[:, : layout.sent].nan_to_num().abs()
    largest = float(sent.max()) if sent.numel() else 0.0  # a trunk may have no numbers at all
    rounding = ROUNDING * torch.finfo(x.dtype if x.is_floating_point() else sent.dtype).eps * largest
    agree = {
        "features": _agree(found.features, expected.features, tolerance),
        "gradients": _agree(found.gradients, expected.gradients, tolerance),
        "buffers": all(
            _agree(found.rows[:, place], expected.rows[:, place], tolerance, rounding)
            for place in _buffers(layout)
        ),
    }
    wrong = " and ".join(what for what, alike in agree.items() if not alike)
    return f"vectorised by PyTorch, its {wrong} are not those of each network alone" if wrong else ""


class _Outcome(NamedTuple):
    """Results of one network, or of K.

    Attributes:
        features: Features [..., batch, feature_count].
        gradients: Gradients [..., weights]; zero where nothing is trained.
        rows: All numbers of the state afterwards [..., size].
    """

    features: Tensor
    gradients: Tensor
    rows: Tensor


def _moved(part: Part, factor: float) -> Part:
    row = part.row.tensor.clone()
    row[: part.layout.weights] *= factor
    return Part(Row(row[None], 0), part.layout)


def _buffers(layout: Layout) -> list[slice]:
    entries = layout.entries.values()
    return [slice(one.start, one.start + one.size) for one in entries if one.start >= layout.weights]


def _agree(found: Tensor, expected: Tensor, tolerance: float, rounding: float = 0.0) -> bool:
    """Return whether two tensors agree up to rounding; NaN agrees with NaN, because both ways may diverge."""
    if not expected.numel():
        return True
    largest = float(expected.nan_to_num().abs().max())
    return torch.allclose(found, expected, 0.0, max(tolerance * largest, rounding), equal_nan=True)


def _slopes(features: Tensor) -> Tensor:
    """Return the derivatives of the trial's loss by ``features`` [batch, feature_count], all of them different."""
    places = torch.arange(features.shape[-2:].numel(), device=features.device, dtype=features.dtype)
    return (1.0 + places).cos().view(features.shape[-2:])


def _alone(trunk: Trunk, part: Part, x: Tensor, trains: bool) -> _Outcome:
    lent = Lent(trunk, part)
    gradient = torch.zeros_like(lent.flat)
    with nullcontext() if trains else torch.no_grad():
        features = trunk(x)
    if features.requires_grad:
        (features * _slopes(features)).sum().backward()
        weights, views = dict(trunk.named_parameters()), part.layout.views(gradient)
        for name in part.layout.trained:
            if (own := weights[name].grad) is not None:
                views[name].copy_(own)
    return _Outcome(features.detach(), gradient[: part.layout.weights], lent.part().row.tensor)


def _together(trunk: Trunk, parts: Sequence[Part], x: Tensor, trains: bool) -> _Outcome:
    together = stacked(parts, trains)
    with nullcontext() if trains else torch.no_grad():
        features = trunk.stacked(together.tensors, x)
    gradients = torch.zeros_like(together.weights)
    if features.requires_grad:
        total = (features * _slopes(features)).sum()
        found = torch.autograd.grad(total, list(together.leaves.values()), allow_unused=True)
        for columns, gradient in together.gradients(found):
            gradients[:, columns] = gradient
    return _Outcome(features.detach(), gradients.detach(), together.flat.detach())


def mixes_samples(trunk: Trunk, part: Part, x: Tensor) -> bool:
    """Return whether a sample's features, or the network's buffers, depend on the other samples of the batch.

    They do with BatchNorm in training mode. Then batches of different sizes cannot be padded to one size. To find out,
    the network is run once more with the second half of the samples replaced by the first sample, in its current mode.

    Args:
        trunk: The network.
        part: A state of it, which is not changed.
        x: Inputs of some different samples [batch, *input_shape].
    """
    known: dict[bool, bool] = trunk.__dict__.setdefault("_mixes", {})
    if trunk.training not in known:
        lent, half = Lent(trunk, part), len(x) // 2
        with torch.no_grad():
            features = trunk(x)
            others = trunk(torch.cat([x[:half], x[:1].expand(len(x) - half, *x.shape[1:])]))
        place = slice(part.layout.weights, None)
        kept = lent.part().row.tensor[place].equal(part.row.tensor[place])
        known[trunk.training] = not kept or not features[:half].equal(others[:half])
    return known[trunk.training]
