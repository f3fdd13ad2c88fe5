"""Aggregation among neighbours (DMML-KD, eqs. 13 and 15), for all devices that are ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from learners.networks.state import Part, Row, State, gather, modality_parts
from learners.training.coding import plus, towards
from learners.training.decomposed.metrics import VARIATIONS
from learners.training.decomposed.mixture import COMMON, Mixture, Neighbourhood
from netsim.learner import Metric

if TYPE_CHECKING:
    from netsim.work.job import Inputs


class Aggregated(NamedTuple):
    """A device after aggregation.

    Attributes:
        parts: W_{k,t}.
        metrics: How far its extractors have moved.
        coefficients: ξ_{k,k'}/(φ_{k,k'} + ε) by modality and sender k'; empty where no ε was given.
    """

    parts: State
    metrics: list[Metric]
    coefficients: dict[str, dict[int, float]]


class Gossiped(NamedTuple):
    """A device after a step of gossip of compressed models; see :func:`gossiped`.

    Attributes:
        parts: Its model.
        copies: What it knows of its neighbours' models, by neighbour.
        metrics: How far its public extractors have moved.
    """

    parts: State
    copies: Mapping[int, State]
    metrics: list[Metric]


class _Mixed(NamedTuple):
    """One modality's extractors of some devices, weights only.

    Attributes:
        before: W_{k,t-1} of each receiver [receivers, weights].
        sent: w_{k',t} of each sender [senders, weights].
        after: W_{k,t} of each receiver [receivers, weights].
    """

    before: Tensor
    sent: Tensor
    after: Tensor


def aggregate(inputs: Sequence[Inputs]) -> list[Aggregated]:
    """Mix each device's parts with those that arrived.

    Args:
        inputs: Of each device: ``device``; ``parts``, its model now, w_{k,t}; ``before``, its model before training,
            W_{k,t-1}; ``arrived``, models by sender, in the order of numbers; ``factors``, by which some of them count
            for less; ``neighbourhood``; whom it ``met``, if that changes from round to round, or None; and ``epsilon``,
            with which coefficients are computed, or None.
    """
    results: dict[int, Aggregated] = {}
    for models, places in _agreeing(inputs):
        results |= zip(places, _aggregated([inputs[place] for place in places], models), strict=True)
    return [results[place] for place in range(len(inputs))]


def gossiped(inputs: Sequence[Inputs]) -> list[Gossiped]:
    """Do a step of consensus of compressed models, x ← x + γ Σ ξ (x̂_n − x̂); see :func:`sending.gossip`.

    Args:
        inputs: As for :func:`aggregate`, but ``parts`` is x̂; ``own``, x; ``step``, γ; ``copies`` by neighbour;
            ``missed``: of those of whom something was missed, what they had sent until then; ``first``: the first
            model of all.
    """
    heard = []
    for one in inputs:
        arrived = dict(one["arrived"])
        for k, was in one["missed"].items():
            copy = one["copies"].get(k, one["first"])
            arrived[k] = {name: plus(copy[name], own, was[name]) for name, own in arrived[k].items()}
        heard.append(arrived)
    mixed = aggregate([{**one, "arrived": arrived} for one, arrived in zip(inputs, heard, strict=True)])
    return [
        Gossiped(
            {
                name: towards(own, new.parts[name], one["parts"][name], one["step"])
                for name, own in one["own"].items()
            },
            {**one["copies"], **arrived},
            new.metrics,
        )
        for one, arrived, new in zip(inputs, heard, mixed, strict=True)
    ]


def _agreeing(inputs: Sequence[Inputs]) -> list[tuple[dict[int, State], list[int]]]:
    """Return places of devices that mix together, and the models that they mix: each sender has one there.

    Whoever hears an earlier model of a sender, late, does not mix with those who hear its newest.
    """
    groups: list[tuple[dict[int, State], list[int]]] = []
    for place in sorted(range(len(inputs)), key=lambda place: inputs[place]["device"]):
        one = inputs[place]
        models = {**one["arrived"], one["device"]: one["parts"]}
        for known, places in groups:
            if all(map(is_, map(known.get, models, models.values()), models.values())):
                known |= models
                places.append(place)
                break
        else:
            groups.append((models, [place]))
    return groups


def _aggregated(inputs: Sequence[Inputs], models: Mapping[int, State]) -> list[Aggregated]:
    """Mix the models of these devices: of each part, one product of the matrix ξ with the bank of all that was sent."""
    hood: Neighbourhood = inputs[0]["neighbourhood"]
    parts: dict[int, dict[str, Part]] = {one["device"]: {} for one in inputs}
    results = {k: Aggregated(own, [], {}) for k, own in parts.items()}
    met = {one["device"]: one["met"] for one in inputs if one.get("met") is not None}
    for key in hood.weights:
        here = [one for one in inputs if key == COMMON or key in hood.modalities[one["device"]]]
        if not here:
            continue
        heard = tuple((one["device"], tuple(one["arrived"]), tuple(one["factors"].items())) for one in here)
        mixture = hood.mixture(key, heard, met)
        own = [mixture.place[k] for k in mixture.rows]
        for part in modality_parts(key) if key else _common(here[0]["parts"]):
            layout = here[0]["parts"][part].layout
            if not layout.size:  # the extractor of inputs that are taken as they are
                for k in mixture.rows:
                    parts[k][part] = models[k][part]
                continue
            bank = gather([models[k][part].row for k in mixture.senders])
            mixed = mixture.mixing(bank)
            if layout.sent < layout.size:  # integer counters are the receiver's own
                mixed[:, layout.sent :] = bank[own, layout.sent :]
            for row, k in enumerate(mixture.rows):
                parts[k][part] = Part(Row(mixed, row), layout)
            if key and part == modality_parts(key)[0] and layout.weights:
                before = gather([one["before"][part].row for one in here])
                weights = slice(layout.weights)
                extractors = _Mixed(before[:, weights], bank[:, weights], mixed[:, weights])
                _measure(key, mixture, extractors, inputs[0]["epsilon"], results)
    return [results[one["device"]] for one in inputs]


def _common(parts: State) -> list[str]:
    return [part for part in ("common", "generator") if part in parts]


def _measure(
    modality: str,
    mixture: Mixture,
    extractors: _Mixed,
    epsilon: float | None,
    results: Mapping[int, Aggregated],
) -> None:
    """Add to ``results`` how far the round has moved each device's extractor (eq. 18).

    With ``epsilon`` also ξ/(φ + ε), with φ_{k,k'} = ‖w_k',t − W_{k,t−1}‖/‖W_{k,t}‖ of everybody who was heard.
    """
    before, sent, after = extractors
    own = sent[[mixture.place[k] for k in mixture.rows]]
    norms = torch.linalg.vector_norm(after, dim=1)
    for name, new in zip(VARIATIONS, (after, own), strict=True):
        moved = torch.linalg.vector_norm(new - before, dim=1) / norms
        for k, value in zip(mixture.rows, moved.tolist(), strict=True):
            results[k].metrics.append(Metric(name, value, modality))
    if epsilon is None:
        return
    for index, (k, weights) in enumerate(mixture.rows.items()):
        heard = sent[[mixture.place[other] for other in weights]]
        distances = torch.linalg.vector_norm(heard - before[index], dim=1)
        phi = dict(zip(weights, (distances / norms[index]).tolist(), strict=True))
        results[k].coefficients[modality] = {
            other: weights[other] / (phi[other] + epsilon) for other in weights
        }
