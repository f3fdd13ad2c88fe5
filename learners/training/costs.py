"""Costs of training and sending: FLOPs of an iteration and bits of a part, counted from networks or stated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from learners.networks.architecture import Model
from learners.networks.network import Trunk
from learners.networks.state import modality_parts, numbers, take
from learners.training.flops import Passes, check_features, count
from netsim.core.errors import ScenarioError

BITS_PER_NUMBER = 32
"""Size of a number in a message that is not a parameter, such as a score, a probability or a loss [bit]."""

BYTES_PER_NUMBER = 4
"""Size of a number in a device's memory, float32 [byte]."""


@dataclass(frozen=True)
class CostTable:
    """Costs of one learner's model, with the symbols of DMML-KD, eq. (20) and Table II.

    Attributes:
        flops: O^m by modality: FLOPs of one iteration of its extractor and specific classifier, forward and backward.
        common_flops: Ô: FLOPs of one iteration of the common classifier on one modality's features.
        generator_forward_flops: O_F^G: FLOPs of the generator's forward pass in an iteration of the network.
        generator_flops: O^G: FLOPs of one iteration of the generator, forward and backward.
        bits: Υ^m by modality: size of its part of a message [bit].
        common_bits: Υ: size of the rest of a message, which is common classifier, bias and generator [bit].
        iterations: N_k if the scenario states it, else None.
        passes: FLOPs of one sample through a modality's extractor and specific classifier, if they are counted.
    """

    flops: Mapping[str, float]
    common_flops: float
    generator_forward_flops: float
    generator_flops: float
    bits: Mapping[str, float]
    common_bits: float
    iterations: int | None = None
    passes: Mapping[str, Passes] = field(default_factory=dict)

    def with_smaller_batches(self, scale: float) -> CostTable:
        """Return the table of a device whose network iterations take ``scale`` times as many samples."""
        return replace(
            self,
            flops={m: scale * flops for m, flops in self.flops.items()},
            common_flops=scale * self.common_flops,
            generator_forward_flops=scale * self.generator_forward_flops,
        )


def forward_macs(module: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Count the multiply-accumulates of one sample's forward pass, without data.

    Args:
        module: A module on the CPU; it is run with one sample of zeros in evaluation mode.
        input_shape: Shape of one sample.

    Raises:
        ScenarioError: See :func:`learners.training.flops.count`, which counts with samples of the data.
    """
    return count(module, torch.zeros(1, *input_shape), training=False).forward


def trains(module: nn.Module) -> bool:
    """Return whether anything in ``module`` is trained, so that later modules must pass gradients back to it."""
    return any(weight.requires_grad for weight in module.parameters())


def head_passes(head: nn.Module, passes_on: bool) -> Passes:
    """Count the multiply-accumulates of a head of linear layers, for one sample.

    Args:
        head: A module on the CPU; its first linear layer gives the number of features.
        passes_on: Whether the gradient of the features is needed, because the module before the head is trained.
    """
    first = next(layer for layer in head.modules() if isinstance(layer, nn.Linear))
    return count(head, torch.zeros(2, first.in_features), passes_on=passes_on)


def trunk_passes(trunks: nn.ModuleDict, samples: Mapping[str, Tensor]) -> dict[str, Passes]:
    """Count the multiply-accumulates of each modality's trunk, for one sample.

    Args:
        trunks: Trunks by modality, on the CPU.
        samples: Two samples by modality, [2, ...].

    Raises:
        ScenarioError: A network cannot be counted; see :func:`learners.training.flops.count`.
    """
    found = {}
    for m, trunk in trunks.items():
        assert isinstance(trunk, Trunk)
        with blaming(f"learner.networks.{m}"):
            found[m] = count(trunk, samples[m], gives=trunk.feature_count)
    return found


def check_trunks(trunks: nn.ModuleDict, samples: Mapping[str, Tensor]) -> None:
    """Check that each modality's trunk returns as many features as it states; used where costs are stated.

    Raises:
        ScenarioError: See :func:`learners.training.flops.check_features`.
    """
    for m, trunk in trunks.items():
        assert isinstance(trunk, Trunk)
        with blaming(f"learner.networks.{m}"):
            check_features(trunk, samples[m], trunk.feature_count)


def flops_of(costs: Any, *passes: Passes) -> Passes:
    """Convert multiply-accumulates of several modules to FLOPs, and return their sum.

    Args:
        costs: The scenario's ``costs`` block: FLOPs of a multiply-accumulate, and the cost of a backward pass.
        *passes: Multiply-accumulates of each module.
    """
    forward = costs.flops_per_mac * sum(one.forward for one in passes)
    if costs.backward_to_forward == "counted":
        return Passes(forward, costs.flops_per_mac * sum(one.backward for one in passes))
    return Passes(forward, costs.backward_to_forward * forward)


def passes_facts(passes: Mapping[Any, Passes]) -> dict[str, dict[Any, float]]:
    """Return the FLOPs of one sample forward and backward by key, for a run's metadata."""
    return {
        "forward_flops_per_sample": {key: own.forward for key, own in passes.items()},
        "backward_flops_per_sample": {key: own.backward for key, own in passes.items()},
    }


@contextmanager
def blaming(key: str) -> Iterator[None]:
    """Add the scenario's ``key`` to the message of an error in the block."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{key}: {error}") from error


def activation_bytes(module: nn.Module, samples: Tensor, once: bool = False) -> float:
    """Return the memory that a forward pass keeps for the backward pass, per sample [byte]; weights do not count.

    Args:
        module: A module on the CPU.
        samples: A batch of its inputs, [batch, ...].
        once: Whether to count a tensor that two operators keep only once, as it lies in memory. An example is the
            output of a ReLU, which the next layer also keeps. If false, it counts for each operator; stacks are sized
            in this way.
    """
    known = {weight.data_ptr() for weight in module.parameters()}
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += 0 if tensor.data_ptr() in known else tensor.numel() * tensor.element_size()
        if once:  # the address is unique, since kept tensors live until the pass is over
            known.add(tensor.data_ptr())
        return tensor

    module.eval()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(samples)
    module.train()
    del result
    return kept / len(samples)


def training_bytes(
    weights: int, buffers: int, remembered: int, activations_bytes_per_sample: float, batch: int
) -> float:
    """Return the memory to train a network on a device that computes in float32, 4 bytes a number [byte].

    It is 4 ((2 + ``remembered``) ``weights`` + ``buffers``) + ``batch`` · ``activations_bytes_per_sample``. The terms
    are the weights, their gradients and the optimizer state; the running statistics; and the activations that the
    forward pass of a mini-batch keeps for the backward pass. The size of a parameter in a message
    (``costs.bits_per_parameter``) plays no part. Not counted are the data set, temporary memory of operators, and code.

    The sum is linear. So parts with different optimizers can be computed apart and added.

    Args:
        weights: Number of trained weights.
        buffers: Number of other numbers, such as BatchNorm's running statistics and counters.
        remembered: Numbers of optimizer state per weight: 2 for Adam, 1 for SGD with momentum, else 0.
        activations_bytes_per_sample: Memory of the activations, see :func:`activation_bytes` with ``once`` [byte].
        batch: Samples in a mini-batch.
    """
    return BYTES_PER_NUMBER * ((2 + remembered) * weights + buffers) + batch * activations_bytes_per_sample


def cost_table(model: Model, samples: Mapping[str, Tensor], batch_size: int, costs: Any) -> CostTable:
    """Return the costs of ``model``: the stated ones if there is ``costs.stated``, else counted ones.

    In the fully connected generator each weight is one multiply-accumulate, and each bias is counted as one, too. So
    its forward pass costs as many as it has parameters: 16 × 167,680 gives Table II's O^G. Its gradients are counted
    without the biases.

    Without a generator the common part of a message is classifier and bias. It is counted even if Υ is stated, because
    the stated Υ includes the generator.

    Args:
        model: The network of all modalities, and the generator if there is one.
        samples: Two samples by modality [2, ...]; see :meth:`learners.training.task.Task.examples`.
        batch_size: Samples per iteration.
        costs: The scenario's ``costs`` block.

    Raises:
        ScenarioError: Costs are stated for other modalities than the model's, or a network cannot be counted.
    """
    state = take(model.parts())
    sent_numbers = {part: numbers(tensors) for part, tensors in state.items()}
    common_bits = costs.bits_per_parameter * sent_numbers["common"]
    if costs.stated is not None:
        check_trunks(model.net.trunks, samples)
        return _stated(costs.stated, model, common_bits)

    net = model.net
    passes, bits = {}, {}
    for m, trunk in trunk_passes(net.trunks, samples).items():
        passes[m] = flops_of(costs, trunk, head_passes(net.specific[m], trains(net.trunks[m])))
        bits[m] = costs.bits_per_parameter * sum(sent_numbers[part] for part in modality_parts(m))
    common = generator = Passes(0.0, 0.0)
    if net.head.classifier is not None:
        common = flops_of(costs, head_passes(net.head.classifier, trains(net.trunks)))
    if model.generator is not None:
        noise, labels = torch.zeros(2, model.generator.noise_size), torch.zeros(2, dtype=torch.int64)
        counted = count(model.generator, noise, labels)
        generator = flops_of(costs, counted._replace(forward=sent_numbers["generator"]))
    return CostTable(
        flops={m: batch_size * own.both for m, own in passes.items()},
        common_flops=batch_size * common.both,
        generator_forward_flops=batch_size * generator.forward,
        generator_flops=batch_size * generator.both,
        bits=bits,
        common_bits=common_bits + costs.bits_per_parameter * sent_numbers.get("generator", 0),
        passes=passes,
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
