"""Noise on a trained model before it is sent, and gossip of compressed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from learners.networks.state import Part, Row, State
from learners.training.batches import random_numbers
from learners.training.coding import NOWHERE, plus, towards
from learners.training.late_fusion.neighbours import mix
from learners.training.privacy import PrivacyOptions
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.local_layers import Columns
    from learners.training.late_fusion.local_update import Trained


class Gossiped(NamedTuple):
    """A device after a step of gossip.

    Attributes:
        parts: Its model.
        copies: What it knows of its neighbours' models, by neighbour.
        metrics: What was measured meanwhile.
    """

    parts: State
    copies: Mapping[int, State]
    metrics: list[Metric]


def gossip(inputs: Sequence[Mapping[str, Any]]) -> list[Gossiped]:
    """Do a step of consensus, x ← x + γ Σ ξ (x̂_n − x̂) (CHOCO: Koloskova et al. 2019, Algorithm 2, lines 7 to 9).

    A neighbour's copy is what has arrived of it: x̂_n ← x̂_n + q_n. Running statistics are a plain mix.

    Args:
        inputs: As for :func:`~learners.training.late_fusion.neighbours.mix`, but for ``own``, x, and ``public``, x̂;
            ``step``, γ; ``copies`` by neighbour; ``before``: of those who ``arrived`` and of whom something was missed
            before, what they had sent until then; and ``first``, the model that all copies began as.
    """
    heard = []
    for one in inputs:
        arrived = dict(one["arrived"])
        for k, was in one["before"].items():
            copy = one["copies"].get(k, one["first"])
            moved = {name: plus(copy[name], own, was[name]) for name, own in arrived[k].state.items()}
            arrived[k] = replace(arrived[k], state=moved)
        heard.append(arrived)
    mixed = mix(
        [
            {**one, "own": one["public"], "arrived": arrived}
            for one, arrived in zip(inputs, heard, strict=True)
        ]
    )
    found = []
    for one, arrived, together in zip(inputs, heard, mixed, strict=True):
        parts = {
            name: towards(own, together.parts[name], one["public"][name], one["step"])
            for name, own in one["own"].items()
        }
        copies = {**one["copies"], **{k: trained.state for k, trained in arrived.items()}}
        found.append(Gossiped(parts, copies, together.metrics))
    return found


class Private(NamedTuple):
    """A training of which what may be known is known.

    Attributes:
        trained: It, with noise.
        metrics: Its losses, and ε so far.
    """

    trained: Trained
    metrics: list[Metric]


def privatised(inputs: Sequence[Mapping[str, Any]]) -> list[Private]:
    """Shorten each device's change to C and add noise N(0, z²C²) to each number, where updates are hidden.

    Args:
        inputs: Of each: ``privacy``, its options, ``local``, places of what is not sent, by part, ``seed``, what was
            ``trained``, from which parts (``before``), and ``epsilon``, ε after this round.
    """
    found = []
    for one in inputs:
        trained, privacy = one["trained"], one["privacy"]
        metrics = [*trained.metrics, Metric("epsilon", one["epsilon"])]
        if privacy.mode == "update":
            trained = replace(trained, state=_hidden(trained.state, **{
                name: one[name] for name in ("before", "privacy", "local", "seed")
            }))  # fmt: skip
        found.append(Private(trained, metrics))
    return found


def _hidden(after: State, before: State, privacy: PrivacyOptions, local: Columns, seed: int) -> State:
    """Return the state with a change of norm C at most, and noise; a training that diverged is noise alone."""
    generator = random_numbers(seed)
    changes = {name: part.weights - before[name].weights for name, part in after.items()}
    for name, change in changes.items():
        if len(stays := local.get(name, NOWHERE)):
            change[stays[stays < len(change)]] = 0.0
    squares = [torch.linalg.vector_norm(one, dtype=torch.float64) ** 2 for one in changes.values()]
    factor = min(1.0, privacy.clip / max(float(sum(squares)) ** 0.5, 1e-30))
    found = {}
    for name, part in after.items():
        row, weights = part.row.tensor.clone(), part.layout.weights
        noise = torch.randn(weights, generator=generator).to(row)
        row[:weights] = before[name].weights + factor * changes[name]
        row[:weights] += privacy.clip * privacy.noise_multiplier * noise
        if len(stays := local.get(name, NOWHERE)):
            row[stays] = part.row.tensor[stays]
        found[name] = Part(Row(row[None], 0), part.layout)
    return found
