"""Control variates: what local updates add to their gradients, so that devices' own optima do not pull them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from learners.networks.state import Part, Row, State
from learners.training.late_fusion.aggregate import mean
from learners.training.late_fusion.neighbours import mix
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.local_update import Trained


class Direction(NamedTuple):
    """The mean direction of a local update's steps.

    Attributes:
        state: z = (w⁰ − w)/(η ‖a‖), the mean over the steps of what their gradients were corrected to.
        finite: Whether the training did not diverge.
    """

    state: State
    finite: bool


def by_part(change: Callable[..., Tensor], first: State, *others: State) -> dict[str, Part]:
    """Return ``change`` of the trained weights of each part of ``first`` and of the same parts of ``others``.

    Numbers that are not trained are 0.
    """
    found = {}
    for name, part in first.items():
        row = part.row.tensor.new_zeros(part.layout.size)
        row[: part.layout.weights] = change(part.weights, *(other[name].weights for other in others))
        found[name] = Part(Row(row[None], 0), part.layout)
    return found


def directions(inputs: Sequence[Mapping[str, Any]]) -> list[Direction]:
    """Return the direction of each local update.

    Args:
        inputs: Of each: ``before``, its first model's parts, what was ``trained``, and η, the step size ``rate``.
    """
    return [Direction(direction(**one), one["trained"].finite) for one in inputs]


def direction(before: State, trained: Trained, rate: float) -> dict[str, Part]:
    """Return z; with one step and no momentum it is the corrected gradient itself."""
    length = rate * trained.normaliser
    return by_part(lambda after, start: (start - after) / length, trained.state, before)


def differences(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Part]]:
    """Return c − c_i of each client for its ``parts``; what the ``server`` or it (``own``) does not have yet is 0."""
    found = []
    for one in inputs:
        like = {name: one["like"][name] for name in one["parts"]}
        c, own = (
            {**by_part(torch.zeros_like, like), **{name: known[name] for name in like if name in known}}
            for known in (one["server"] or {}, one["own"] or {})
        )
        found.append(by_part(torch.sub, c, own))
    return found


def controls_of(
    control: State, like: State, told: Mapping[int, State], shares: Mapping[int, float]
) -> dict[str, Part]:
    """Return the server's c + Σ q_i (c_i⁺ − c_i), which is c + Σ q_i (z_i − c) over those of whom it has heard.

    Args:
        control: c; parts that it lacks are 0.
        like: The model's parts.
        told: z_i by client, of the parts that it holds.
        shares: q_i of all clients; they sum to 1.
    """
    found = dict(control)
    for name, part in like.items():
        holders = {k: shares[k] for k, own in told.items() if name in own}
        if holders:
            moved = mean({k: told[k][name].weights for k in holders}, holders)
            if name in control:
                moved += (1.0 - sum(holders.values())) * control[name].weights
            found |= by_part(lambda _, moved=moved: moved, {name: part})
    return found


class Tracked(NamedTuple):
    """A device after it has mixed models and trackers.

    Attributes:
        parts: Its model.
        correction: Σ ξ z_n − g, what its next gradients are corrected by.
        metrics: What was measured meanwhile.
    """

    parts: State
    correction: State
    metrics: list[Metric]


def track(inputs: Sequence[Mapping[str, Any]]) -> list[Tracked]:
    """Mix each device's model and its direction with those that arrived, by the same weights.

    Args:
        inputs: As for :func:`~learners.training.late_fusion.neighbours.mix`; besides, ``directions`` that arrived by
            sender, the device's own ``direction``, and the ``correction`` that it trained with, empty in the beginning.
    """
    models = mix(inputs)
    mixed = mix([{**one, "own": one["direction"].state, "arrived": one["directions"]} for one in inputs])
    found = []
    for one, model, together in zip(inputs, models, mixed, strict=True):
        own, correction = one["direction"], one["correction"]
        if not own.finite:
            new = correction
        elif correction:
            new = by_part(lambda z, own, c: c + z - own, together.parts, own.state, correction)
        else:
            new = by_part(lambda z, own: z - own, together.parts, own.state)
        found.append(Tracked(model.parts, new, model.metrics))
    return found
