"""Weighted sums of model parts (DMML-KD, eqs. 13 and 15)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from learners.state import Part


def surviving_weights(
    row: Mapping[int, float], device: int, arrived: Mapping[int, object]
) -> dict[int, float]:
    """A device's aggregation weights when only some neighbours' parts arrived.

    The weight of a neighbour that is missing goes to the device itself. Rows still sum to one; and if two
    devices miss each other, as when one has died, the matrix among the others stays doubly stochastic.

    Args:
        row: ξ_{k,k'} by device k', the device itself included.
        device: The device k.
        arrived: Whose parts are there, by device.
    """
    weights = {other: weight for other, weight in row.items() if other in arrived and other != device}
    return {**weights, device: 1.0 - sum(weights.values())}


def mix(parts: Mapping[int, Part], weights: Mapping[int, float], device: int) -> dict[str, Tensor]:
    """Σ_k' ξ_{k,k'} w_k', summed in the order of device numbers so that rounding is the same every time.

    BatchNorm's running means and variances are mixed like weights, since the averaged weights need
    statistics that fit them; integer counters are the receiver's own.

    Args:
        parts: The part of each device in ``weights``.
        weights: ξ by device.
        device: The receiver k.
    """
    own = parts[device]
    first, *others = sorted(weights)
    mixed = {}
    for name, tensor in own.items():
        if tensor.is_floating_point():
            total = parts[first][name] * weights[first]
            for other in others:
                total.add_(parts[other][name], alpha=weights[other])
            mixed[name] = total
        else:
            mixed[name] = tensor
    return mixed
