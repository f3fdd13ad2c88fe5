"""FLOPs, bits and memory of a device's own network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learners.networks.state import numbers, take
from learners.training.costs import activation_bytes, blaming, flops_of, head_passes, trains
from learners.training.flops import Passes, count
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from learners.training.distillation.classifier import Classifier, ClassifierNet


@dataclass(frozen=True)
class NetworkCosts:
    """Costs of one architecture.

    Attributes:
        forward: FLOPs of one sample's forward pass, all heads included.
        gradients: FLOPs of one sample's gradients in the trunk; where the scenario gives a ratio, in the whole network.
        heads: FLOPs of its gradients in each head; 0 where the scenario gives a ratio.
        embedding: FLOPs of its gradients in the embedding's map, likewise.
        weights: How many numbers are trained.
        numbers: How many numbers travel: weights and running statistics.
        bits: Size of the model in a message [bit].
        activation_bytes: What a forward pass keeps for the backward pass, for one sample [byte].
    """

    forward: float
    gradients: float
    heads: tuple[float, ...]
    embedding: float
    weights: int
    numbers: int
    bits: float
    activation_bytes: float

    def step(self, heads: Iterable[int] = (0,), embedding: bool = False) -> float:
        """Return the FLOPs of a sample in a step whose loss is about these ``heads`` and maybe the embedding.

        The forward pass computes all heads; gradients come from those that the loss is about.
        """
        gradients = self.gradients + sum(self.heads[head] for head in heads) + self.embedding * embedding
        return self.forward + gradients

    @property
    def passes(self) -> Passes:
        """Return the FLOPs of one sample forward and backward, where the loss is about everything."""
        return Passes(self.forward, self.step(range(len(self.heads)), True) - self.forward)


def network_costs(architecture: Classifier, sample: Tensor, costs: Any) -> NetworkCosts:
    """Count them; the convention is that of :func:`learners.training.costs.cost_table`.

    Args:
        architecture: The network.
        sample: Two of its inputs, [2, ...].
        costs: The scenario's ``costs`` block.

    Raises:
        ScenarioError: Costs are stated, which they can be for one network only, or the network cannot be counted.
    """
    if costs.stated is not None:
        raise ScenarioError(
            "costs.stated: with this learner networks differ from device to device, so costs are counted from each; "
            "leave it out"
        )
    net = _new(architecture)
    trained = trains(net.trunk)
    trunk = count(net.trunk, sample, gives=net.trunk.feature_count)
    heads = [head_passes(head, trained) for head in net.heads]
    embedding = Passes(0.0, 0.0) if net.embedding is None else head_passes(net.embedding, trained)
    counted = costs.backward_to_forward == "counted"
    whole = flops_of(costs, trunk, *heads, embedding)
    state = take(net.parts())
    sent = sum(numbers(part) for part in state.values())
    return NetworkCosts(
        whole.forward,
        flops_of(costs, trunk).backward if counted else whole.backward,
        tuple(flops_of(costs, head).backward if counted else 0.0 for head in heads),
        flops_of(costs, embedding).backward if counted else 0.0,
        sum(part.layout.weights for part in state.values()),
        sent,
        costs.bits_per_parameter * sent,
        activation_bytes(net.trunk, sample, once=True),
    )


def input_gradient_flops(architecture: Classifier, sample: Tensor, costs: Any) -> float:
    """Count the gradient of one sample's inputs, through a network that is not trained [FLOP].

    Where the scenario gives a ratio for backward passes it costs as much as the forward pass: no weight has a gradient.

    Args:
        architecture: The network, with one head.
        sample: Two of its inputs, [2, ...].
        costs: The scenario's ``costs`` block.

    Raises:
        ScenarioError: The network cannot be counted.
    """
    passes = count(_new(architecture), sample, passes_on=True, frozen=True)
    whole: float = costs.flops_per_mac * (
        passes.backward if costs.backward_to_forward == "counted" else passes.forward
    )
    return whole


def _new(architecture: Classifier) -> ClassifierNet:
    """Build a network that no thread works with, as theirs may be of another run's precision; no numbers are drawn."""
    with torch.random.fork_rng(devices=[]):
        return architecture.build()


def all_costs(architectures: Mapping[int, Classifier], sample: Tensor, costs: Any) -> dict[str, NetworkCosts]:
    """Count each different architecture once; costs by its text.

    Raises:
        ScenarioError: See :func:`network_costs`; says which device's network it is about.
    """
    found: dict[str, NetworkCosts] = {}
    for k, one in architectures.items():
        if one.text not in found:
            with blaming(f"learner.networks: device {k}"):
                found[one.text] = network_costs(one, sample, costs)
    return found
