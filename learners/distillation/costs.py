"""What a device's own network costs in FLOPs, bits and memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from learners.costs import activation_bytes, forward_macs
from learners.distillation.classifier import Classifier
from learners.state import numbers, take
from netsim.errors import ScenarioError


@dataclass(frozen=True)
class NetworkCosts:
    """Costs of one architecture.

    Attributes:
        forward: FLOPs of one sample's forward pass, all heads included.
        step: FLOPs of one sample in an optimizer step, forward and backward.
        weights: How many numbers are trained.
        numbers: How many numbers travel: weights and running statistics.
        bits: Size of the model in a message [bit].
        activation_bytes: What a forward pass keeps for the backward pass, for one sample [byte].
    """

    forward: float
    step: float
    weights: int
    numbers: int
    bits: float
    activation_bytes: float


def network_costs(architecture: Classifier, costs: Any) -> NetworkCosts:
    """Count them; the convention is that of :func:`learners.costs.cost_table`.

    Args:
        architecture: The network.
        costs: The scenario's ``costs`` block.

    Raises:
        ScenarioError: Costs are stated, which they can be for one network only.
    """
    if costs.stated is not None:
        raise ScenarioError(
            "costs.stated: with this learner networks differ from device to device, so costs are counted from each; "
            "leave it out"
        )
    with torch.random.fork_rng(
        devices=[]
    ):  # not the thread's own: its numbers may be of another run's precision
        net = architecture.build()
    heads = sum(tensor.numel() for name, tensor in net.heads.named_parameters() if name.endswith("weight"))
    forward = costs.flops_per_mac * (forward_macs(net.trunk, architecture.input_shape) + heads)
    state = take(net.parts())
    sent = sum(numbers(part) for part in state.values())
    return NetworkCosts(
        forward,
        (1 + costs.backward_to_forward) * forward,
        sum(part.layout.weights for part in state.values()),
        sent,
        costs.bits_per_parameter * sent,
        activation_bytes(net.trunk, architecture.input_shape, once=True),
    )


def all_costs(architectures: Iterable[Classifier], costs: Any) -> dict[str, NetworkCosts]:
    """Costs by the architecture's text, each counted once."""
    return {one.text: network_costs(one, costs) for one in {one.text: one for one in architectures}.values()}
