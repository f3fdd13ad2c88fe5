"""FLOPs and bits of a late-fusion network: counted from it, or stated in the scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learners.networks.late_fusion import FUSION, LateFusionNet, head_part, trunk_part
from learners.networks.state import Part, numbers
from learners.training.costs import (
    BITS_PER_NUMBER,
    activation_bytes,
    check_trunks,
    flops_of,
    head_passes,
    trains,
    trunk_passes,
)
from learners.training.flops import Passes
from netsim.core.errors import ScenarioError


@dataclass(frozen=True)
class FusionCosts:
    """Costs of the model of one learner.

    Attributes:
        passes: FLOPs of one sample forward and backward, by modality (trunk and head) and for the fused head
            (``fusion``).
        bits: What a message holds of each modality and of the fused head [bit].
        numbers: How many numbers of each part travel.
        iterations: Optimizer steps of a round where the scenario states them.
    """

    passes: Mapping[str, Passes]
    bits: Mapping[str, float]
    numbers: Mapping[str, int]
    iterations: int | None

    def bits_of(self, numbers: int) -> float:
        """Return the size of so many ``numbers`` that travel beside a model [bit]."""
        return float(BITS_PER_NUMBER * numbers)

    def message_bits(self, modalities: Iterable[str]) -> float:
        """Return the size of a model with ``modalities`` [bit]."""
        return sum(self.bits[m] for m in modalities) + self.bits[FUSION]

    def flops(self, present: Mapping[str, float], stepped: float, measured: float) -> dict[str, float]:
        """Return the FLOPs of a local update by part.

        Args:
            present: Of each of the client's modalities, the part of its samples that have it.
            stepped: Samples of all its steps together.
            measured: Samples of forward passes that only measure losses.
        """
        part = {**present, FUSION: 1.0}
        found = {key: part[key] * stepped * self.passes[key].both for key in part}
        if measured:
            found["measuring"] = measured * sum(part[key] * self.passes[key].forward for key in part)
        return found


def fusion_costs(
    net: LateFusionNet,
    state: Mapping[str, Part],
    samples: Mapping[str, Tensor],
    batch_size: int,
    costs: Any,
    local: Mapping[str, Tensor] | None = None,
) -> FusionCosts:
    """Costs of ``net``, which has all modalities; the convention is that of :func:`learners.training.costs.cost_table`.

    The fused head costs the same on every device, since features that a device lacks are multiplied as zeros. Where
    costs are stated, Ô and Υ (``common_flops``, ``common_bits``) are those of the fused head, once per iteration;
    if they are 0 they are counted.

    Args:
        net: On the CPU.
        state: Its parts.
        samples: Two samples by modality [2, ...]; see :meth:`learners.training.task.Task.examples`.
        batch_size: Samples per step.
        costs: The scenario's ``costs`` block.
        local: Places of numbers that are not sent, by part; stated bits are less by their part of the numbers.

    Raises:
        ScenarioError: Costs are stated for other modalities than the network's, or a network cannot be counted.
    """
    whole = {part: numbers(tensors) for part, tensors in state.items()}
    sent = {part: count - len((local or {}).get(part, ())) for part, count in whole.items()}
    bits = {
        m: costs.bits_per_parameter * (sent[trunk_part(m)] + sent.get(head_part(m), 0))
        for m in net.modalities
    }
    bits[FUSION] = costs.bits_per_parameter * sent[FUSION]
    passes = {FUSION: flops_of(costs, head_passes(net.fusion, trains(net.trunks)))}
    stated = costs.stated
    if stated is None:
        for m, trunk in trunk_passes(net.trunks, samples).items():
            heads = (head_passes(head, trains(net.trunks[m])) for head in net.own_heads(m))
            passes[m] = flops_of(costs, trunk, *heads)
        return FusionCosts(passes, bits, sent, None)
    check_trunks(net.trunks, samples)
    for key in ("flops_per_iteration", "bits"):
        missing = [m for m in net.modalities if m not in getattr(stated, key)]
        if missing:
            raise ScenarioError(f"costs.stated.{key}: nothing is stated for modality {', '.join(missing)}")
    flops = {m: stated.flops_per_iteration[m] for m in net.modalities}
    if stated.common_flops:
        flops[FUSION] = stated.common_flops
    ratio = 2.0 if costs.backward_to_forward == "counted" else costs.backward_to_forward
    for key, iteration in flops.items():
        forward = iteration / batch_size / (1 + ratio)
        passes[key] = Passes(forward, ratio * forward)
    for key, said in [*((m, stated.bits[m]) for m in net.modalities), (FUSION, stated.common_bits)]:
        own = [part for part in (trunk_part(key), head_part(key), key) if part in whole]
        counted = sum(whole[part] for part in own)
        share = sum(sent[part] for part in own) / counted if counted else 1.0
        bits[key] = share * said or bits[key]
    return FusionCosts(passes, bits, sent, stated.iterations)


def kept_bytes(net: LateFusionNet, samples: Mapping[str, Tensor]) -> dict[str, float]:
    """Measure what a forward pass keeps for the backward pass, for one sample [byte].

    By modality, trunk and head together, and for the fused head (``fusion``).

    Args:
        net: With all modalities, on the CPU.
        samples: Two samples by modality [2, ...].
    """
    features = {m: torch.zeros(2, count) for m, count in net.feature_counts.items()}
    kept = {
        m: activation_bytes(net.trunks[m], samples[m], once=True)
        + sum(activation_bytes(head, features[m], once=True) for head in net.own_heads(m))
        for m in net.modalities
    }
    return {**kept, FUSION: activation_bytes(net.fusion, torch.cat([*features.values()], dim=1), once=True)}
