"""What a late-fusion network costs in FLOPs and bits: counted from it, or stated in the scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from learners.costs import activation_bytes, forward_macs
from learners.models.late_fusion import FUSION, LateFusionNet, head_part, trunk_part
from learners.state import Part, numbers
from netsim.errors import ScenarioError


@dataclass(frozen=True)
class FusionCosts:
    """Costs of the model of one learner.

    Attributes:
        forward: FLOPs of one sample's forward pass, by modality (trunk and head) and for the fused head (``fusion``).
        step: FLOPs of one sample in an optimizer step, forward and backward, likewise.
        bits: What a message holds of each modality and of the fused head [bit].
        numbers: How many numbers of each part travel.
        iterations: Optimizer steps of a round where the scenario states them.
    """

    forward: Mapping[str, float]
    step: Mapping[str, float]
    bits: Mapping[str, float]
    numbers: Mapping[str, int]
    iterations: int | None

    def message_bits(self, modalities: Iterable[str]) -> float:
        """Size of a model with ``modalities`` [bit]."""
        return sum(self.bits[m] for m in modalities) + self.bits[FUSION]

    def flops(self, present: Mapping[str, float], stepped: float, measured: float) -> dict[str, float]:
        """FLOPs of a local update by part.

        Args:
            present: Of each of the client's modalities, the part of its samples that have it.
            stepped: Samples of all its steps together.
            measured: Samples of forward passes that only measure losses.
        """
        part = {**present, FUSION: 1.0}
        found = {key: part[key] * stepped * self.step[key] for key in part}
        if measured:
            found["measuring"] = measured * sum(part[key] * self.forward[key] for key in part)
        return found


def fusion_costs(
    net: LateFusionNet,
    state: Mapping[str, Part],
    input_shapes: Mapping[str, tuple[int, ...]],
    batch_size: int,
    costs: Any,
) -> FusionCosts:
    """Costs of ``net``, which has all modalities; the convention is that of :func:`learners.costs.cost_table`.

    The fused head costs the same on every device, since features that a device lacks are multiplied as zeros. Where
    costs are stated, Ô and Υ (``common_flops``, ``common_bits``) are those of the fused head, once per iteration;
    if they are 0 they are counted.

    Raises:
        ScenarioError: Costs are stated for other modalities than the network's.
    """
    sent = {part: numbers(tensors) for part, tensors in state.items()}
    trained = 1 + costs.backward_to_forward
    macs = {
        m: forward_macs(net.trunks[m], input_shapes[m])
        + sum(forward_macs(head, (net.feature_counts[m],)) for head in net.own_heads(m))
        for m in net.modalities
    }
    macs[FUSION] = forward_macs(net.fusion, (sum(net.feature_counts.values()),))
    forward = {key: costs.flops_per_mac * count for key, count in macs.items()}
    bits = {
        m: costs.bits_per_parameter * (sent[trunk_part(m)] + sent.get(head_part(m), 0))
        for m in net.modalities
    }
    bits[FUSION] = costs.bits_per_parameter * sent[FUSION]
    iterations = None
    if costs.stated is not None:
        stated = costs.stated
        for key in ("flops_per_iteration", "bits"):
            missing = [m for m in net.modalities if m not in getattr(stated, key)]
            if missing:
                raise ScenarioError(
                    f"costs.stated.{key}: nothing is stated for modality {', '.join(missing)}"
                )
        for m in net.modalities:
            forward[m] = stated.flops_per_iteration[m] / batch_size / trained
            bits[m] = float(stated.bits[m])
        if stated.common_flops:
            forward[FUSION] = stated.common_flops / batch_size / trained
        bits[FUSION] = stated.common_bits or bits[FUSION]
        iterations = stated.iterations
    return FusionCosts(
        forward, {key: trained * flops for key, flops in forward.items()}, bits, sent, iterations
    )


def kept_bytes(net: LateFusionNet, input_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    """What a forward pass keeps for the backward pass, for one sample [byte].

    By modality, trunk and head together, and for the fused head (``fusion``).

    Args:
        net: With all modalities, on the CPU.
        input_shapes: Shape of one sample by modality.
    """
    kept = {
        m: activation_bytes(net.trunks[m], input_shapes[m], once=True)
        + sum(activation_bytes(head, (net.feature_counts[m],), once=True) for head in net.own_heads(m))
        for m in net.modalities
    }
    return {**kept, FUSION: activation_bytes(net.fusion, (sum(net.feature_counts.values()),), once=True)}
