"""Aggregation through an edge server: part by part over those that hold it (McMahan et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from learners.networks.state import Part, Row, State, gather, modality_parts
from learners.training.decomposed.metrics import VARIATIONS
from learners.training.merging import amounts_by_part as amounts_by_part
from learners.training.merging import merged as merged
from learners.training.mixing import Mixing
from netsim.learner import Metric

if TYPE_CHECKING:
    from netsim.work.job import Inputs


class Averaged(NamedTuple):
    """The server after aggregation.

    Attributes:
        parts: W_t.
        metrics: How far its extractors have moved.
    """

    parts: State
    metrics: list[Metric]


def received(inputs: Sequence[Inputs]) -> list[dict[str, Part]]:
    """Return the models that devices train from: their own parts of what the server sent.

    Args:
        inputs: Of each device: ``own``, the model that it has, whose integer counters it keeps; ``sent``, the server's.
    """
    return [
        {part: _with_counters_of(one["sent"][part], mine) for part, mine in one["own"].items()}
        for one in inputs
    ]


def averaged(inputs: Sequence[Inputs]) -> list[Averaged]:
    """Return the server's next models, each the mean over clients, weighted by their numbers of samples.

    Running means and variances are averaged like weights. A part that nobody has sent stays as it is.

    Args:
        inputs: Of each server: ``own``, its model, all parts; ``arrived``, the clients' parts by device, in the order
            of numbers; ``samples`` of each device; ``modalities``, all of them.
    """
    return [_averaged(**one) for one in inputs]


def _averaged(
    own: State, arrived: dict[int, State], samples: dict[int, int], modalities: Sequence[str]
) -> Averaged:
    parts: dict[str, Part] = {}
    for name, part in own.items():
        holders = [k for k, model in arrived.items() if name in model]
        if not holders or not part.layout.size:
            parts[name] = part
            continue
        total = sum(samples[k] for k in holders)
        mixing = Mixing([{k: samples[k] / total for k in holders}], {k: i for i, k in enumerate(holders)})
        mean = Part(Row(mixing(gather([arrived[k][name].row for k in holders])), 0), part.layout)
        parts[name] = _with_counters_of(mean, part)
    metrics = []
    for modality in modalities:
        name, *_ = modality_parts(modality)
        if own[name].layout.weights and parts[name] is not own[name]:
            after = parts[name].weights
            moved = torch.linalg.vector_norm(after - own[name].weights) / torch.linalg.vector_norm(after)
            metrics.append(Metric(next(iter(VARIATIONS)), moved.item(), modality))
    return Averaged(parts, metrics)


def _with_counters_of(part: Part, own: Part) -> Part:
    """Return ``part`` with what stays at home as in ``own``."""
    sent = part.layout.sent
    if sent == part.layout.size or torch.equal(part.row.tensor[sent:], own.row.tensor[sent:]):
        return part
    row = part.row.tensor.clone()
    row[sent:] = own.row.tensor[sent:]
    return Part(Row(row[None], 0), part.layout)
