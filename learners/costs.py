"""What an iteration costs in FLOPs and a part in bits: counted from the networks, or stated in the scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from learners.models.choice import Model
from learners.state import modality_parts, numbers, take
from netsim.errors import ScenarioError

BITS_PER_NUMBER = 32
"""Size of each number in a message that is no parameter: a score, a probability, a loss, a part of a report."""

BYTES_PER_NUMBER = 4
"""Size of a number in a device's memory, float32."""


@dataclass(frozen=True)
class CostTable:
    """Costs of one learner's model, with the symbols of DMML-KD, eq. (20) and Table II.

    Attributes:
        flops: O^m, one iteration of a modality's extractor and specific classifier, forward and backward.
        common_flops: Ô, one iteration of the common classifier on one modality's features.
        generator_forward_flops: O_F^G, the generator's forward pass in an iteration of the network.
        generator_flops: O^G, one iteration of the generator, forward and backward.
        bits: Υ^m, what a message holds of a modality [bit].
        common_bits: Υ, what a message holds of the rest: common classifier, bias, generator [bit].
        iterations: N_k where the scenario states it.
    """

    flops: Mapping[str, float]
    common_flops: float
    generator_forward_flops: float
    generator_flops: float
    bits: Mapping[str, float]
    common_bits: float
    iterations: int | None = None

    def with_smaller_batches(self, scale: float) -> CostTable:
        """The table of a device whose network iterations take ``scale`` times as many samples."""
        return replace(
            self,
            flops={m: scale * flops for m, flops in self.flops.items()},
            common_flops=scale * self.common_flops,
            generator_forward_flops=scale * self.generator_forward_flops,
        )


def forward_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample's forward pass, in convolutions and matrix products.

    Counted by PyTorch while it runs ``module`` on one sample of zeros, in eval mode; its counter takes a
    multiply-accumulate for two FLOPs. BatchNorm, pooling and additions (0.4 % of a ResNet-18) are left out.
    """
    reference = next(module.parameters(), torch.empty(0))  # a module may have nothing to train
    was_training = module.training
    module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *input_shape, device=reference.device))
    module.train(was_training)
    return int(counter.get_total_flops()) // 2


def activation_bytes(module: nn.Module, input_shape: tuple[int, ...], once: bool = False) -> float:
    """What a forward pass keeps for the backward pass, for one sample [byte]; weights are not counted.

    Args:
        module: On the CPU.
        input_shape: Shape of one sample.
        once: Count a tensor that two operators keep once, as it lies in memory (what a ReLU gives and the next layer
            takes); else once for each of them, which is how stacks are sized.
    """
    known = {weight.data_ptr() for weight in module.parameters()}
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += 0 if tensor.data_ptr() in known else tensor.numel() * tensor.element_size()
        if once:  # nothing else comes to lie there: what is kept lives until the pass is over
            known.add(tensor.data_ptr())
        return tensor

    module.eval()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        given = torch.zeros(2, *input_shape)
        result = module(given)
    module.train()
    del given, result
    return kept / 2


def training_bytes(
    weights: int, buffers: int, remembered: int, activations_bytes_per_sample: float, batch: int
) -> float:
    """What it takes to train a network on a device that computes in float32, 4 bytes a number [byte].

    4 ((2 + ``remembered``) ``weights`` + ``buffers``) + ``batch`` · ``activations_bytes_per_sample``: weights, their
    gradients, what the optimizer remembers of them; running statistics; and what the forward pass of a mini-batch
    keeps for the backward pass. How many bits a parameter has in a message (``costs.bits_per_parameter``) does not
    matter here. Left out are the samples that wait for their turn, operators' scratch space, and code.

    The sum is linear, so parts that remember differently can be added up.

    Args:
        weights: Numbers that are trained.
        buffers: Numbers that are not: BatchNorm's running statistics and counters.
        remembered: Numbers that the optimizer remembers of each weight: 2 for Adam, 1 for SGD with momentum, else 0.
        activations_bytes_per_sample: See :func:`activation_bytes`, with ``once``.
        batch: Samples of a mini-batch.
    """
    return BYTES_PER_NUMBER * ((2 + remembered) * weights + buffers) + batch * activations_bytes_per_sample


def cost_table(
    model: Model, input_shapes: Mapping[str, tuple[int, ...]], batch_size: int, costs: Any
) -> CostTable:
    """Costs of ``model``: stated ones where ``costs.stated`` is there, else counted.

    In the fully connected generator a weight is one multiply-accumulate and a bias is counted as one too, so
    its forward pass costs as many as it has parameters: with 16 × 167,680 this gives Table II's O^G.

    Without a generator the common part of a message is classifier and bias, counted also where Υ is stated,
    since the stated Υ includes the generator.

    Args:
        model: The network of all modalities, and the generator if there is one.
        input_shapes: Shape of one sample by modality.
        batch_size: Samples per iteration.
        costs: The scenario's ``costs`` block.

    Raises:
        ScenarioError: Costs are stated for other modalities than the model's.
    """
    state = take(model.parts())
    sent_numbers = {part: numbers(tensors) for part, tensors in state.items()}
    common_bits = costs.bits_per_parameter * sent_numbers["common"]
    if costs.stated is not None:
        return _stated(costs.stated, model, common_bits)

    forward = batch_size * costs.flops_per_mac
    both = forward * (1 + costs.backward_to_forward)
    flops, bits = {}, {}
    for m in model.net.modalities:
        flops[m] = both * (
            forward_macs(model.net.trunks[m], input_shapes[m]) + model.net.classifier(m).numel()
        )
        bits[m] = costs.bits_per_parameter * sum(sent_numbers[part] for part in modality_parts(m))
    head = model.net.head.classifier
    generator = sent_numbers.get("generator", 0)
    return CostTable(
        flops=flops,
        common_flops=both * head.weight.numel() if head is not None else 0.0,
        generator_forward_flops=forward * generator,
        generator_flops=both * generator,
        bits=bits,
        common_bits=common_bits + costs.bits_per_parameter * generator,
    )


def _stated(stated: Any, model: Model, counted_common_bits: float) -> CostTable:
    for key in ("flops_per_iteration", "bits"):
        missing = [m for m in model.net.modalities if m not in getattr(stated, key)]
        if missing:
            raise ScenarioError(f"costs.stated.{key}: nothing is stated for modality {', '.join(missing)}")
    with_generator = model.generator is not None
    return CostTable(
        flops={m: float(stated.flops_per_iteration[m]) for m in model.net.modalities},
        common_flops=stated.common_flops,
        generator_forward_flops=stated.generator_forward_flops if with_generator else 0.0,
        generator_flops=stated.generator_flops if with_generator else 0.0,
        bits={m: float(stated.bits[m]) for m in model.net.modalities},
        common_bits=stated.common_bits if with_generator else counted_common_bits,
        iterations=stated.iterations,
    )
