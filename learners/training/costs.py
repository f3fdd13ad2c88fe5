"""What an iteration costs in FLOPs and a part in bits: counted from the networks, or stated in the scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from learners.networks.architecture import Model
from learners.networks.network import Trunk
from learners.training.flops import Passes, check_features, count
from learners.training.state import modality_parts, numbers, take
from netsim.core.errors import ScenarioError

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
        passes: FLOPs of one sample through a modality's extractor and specific classifier, where they are counted.
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
        """The table of a device whose network iterations take ``scale`` times as many samples."""
        return replace(
            self,
            flops={m: scale * flops for m, flops in self.flops.items()},
            common_flops=scale * self.common_flops,
            generator_forward_flops=scale * self.generator_forward_flops,
        )


def forward_macs(module: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Count the multiply-accumulates of one sample's forward pass, for whoever has a shape and no data.

    Args:
        module: On the CPU; it is given one sample of zeros in evaluation mode.
        input_shape: Shape of one sample.

    Raises:
        ScenarioError: See :func:`learners.training.flops.count`, which counts with samples of the data.
    """
    return count(module, torch.zeros(1, *input_shape), training=False).forward


def trains(module: nn.Module) -> bool:
    """Whether anything in ``module`` is trained, so that what comes after it must pass gradients on."""
    return any(weight.requires_grad for weight in module.parameters())


def head_passes(head: nn.Module, passes_on: bool) -> Passes:
    """Count a head of linear layers, the first of which says how many features it takes.

    Args:
        head: On the CPU.
        passes_on: Whether the gradient of the features is needed, since what they come from is trained.
    """
    first = next(layer for layer in head.modules() if isinstance(layer, nn.Linear))
    return count(head, torch.zeros(2, first.in_features), passes_on=passes_on)


def trunk_passes(trunks: nn.ModuleDict, samples: Mapping[str, Tensor]) -> dict[str, Passes]:
    """Count the trunk of each modality.

    Args:
        trunks: By modality, on the CPU.
        samples: Two samples of each, [2, ...].

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
    """See that each modality's trunk gives as many features as it says, where costs are stated.

    Raises:
        ScenarioError: See :func:`learners.training.flops.check_features`.
    """
    for m, trunk in trunks.items():
        assert isinstance(trunk, Trunk)
        with blaming(f"learner.networks.{m}"):
            check_features(trunk, samples[m], trunk.feature_count)


def flops_of(costs: Any, *passes: Passes) -> Passes:
    """Bring modules that work together from multiply-accumulates to FLOPs.

    Args:
        costs: The scenario's ``costs`` block: FLOPs of a multiply-accumulate, and what a backward pass costs.
        *passes: Of each module.
    """
    forward = costs.flops_per_mac * sum(one.forward for one in passes)
    if costs.backward_to_forward == "counted":
        return Passes(forward, costs.flops_per_mac * sum(one.backward for one in passes))
    return Passes(forward, costs.backward_to_forward * forward)


def passes_facts(passes: Mapping[Any, Passes]) -> dict[str, dict[Any, float]]:
    """Give the FLOPs of one sample forward and backward by key, as a run's metadata has them."""
    return {
        "forward_flops_per_sample": {key: own.forward for key, own in passes.items()},
        "backward_flops_per_sample": {key: own.backward for key, own in passes.items()},
    }


@contextmanager
def blaming(key: str) -> Iterator[None]:
    """Say which ``key`` of the scenario an error is about."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{key}: {error}") from error


def activation_bytes(module: nn.Module, samples: Tensor, once: bool = False) -> float:
    """What a forward pass keeps for the backward pass, for one sample [byte]; weights are not counted.

    Args:
        module: On the CPU.
        samples: A batch of what it takes, [batch, ...].
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
        result = module(samples)
    module.train()
    del result
    return kept / len(samples)


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


def cost_table(model: Model, samples: Mapping[str, Tensor], batch_size: int, costs: Any) -> CostTable:
    """Costs of ``model``: stated ones where ``costs.stated`` is there, else counted.

    In the fully connected generator a weight is one multiply-accumulate and a bias is counted as one too, so
    its forward pass costs as many as it has parameters: with 16 × 167,680 this gives Table II's O^G. Its gradients are
    counted without the biases.

    Without a generator the common part of a message is classifier and bias, counted also where Υ is stated,
    since the stated Υ includes the generator.

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
