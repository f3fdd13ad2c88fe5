"""The model that devices train parts of: architecture, first weights, sizes and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from learners.networks.architecture import Architecture, GeneratorShape, build, module_path
from learners.networks.choice import choose
from learners.networks.start import check_frozen, start_from
from learners.networks.state import State, modality_parts, numbers, state_bytes, take
from learners.training.coding import Codec
from learners.training.compression import WHOLE, CompressorChoice
from learners.training.costs import CostTable, activation_bytes, cost_table, passes_facts, training_bytes
from learners.training.kept import filled, kept, rebuilt
from netsim.core.streams import derive_seed
from netsim.learner import Kept
from netsim.work.torch_device import require_memory

if TYPE_CHECKING:
    from learners.training.decomposed.options import TrainingOptions
    from learners.training.optimizers import Rule
    from learners.training.task import Task
    from netsim.learner import Setup


class SharedModel:
    """All parts of the network; a device has those of its own modalities and the common ones.

    Attributes:
        architecture: Of all modalities.
        initial: The first weights, the same everywhere.
        costs: FLOPs and bits.
        numbers: How many numbers of each part travel.
        codec: How devices compress what they send; None if they do not.
    """

    def __init__(
        self, setup: Setup, task: Task, decomposed: bool, generator: GeneratorShape | None = None
    ) -> None:
        """Build the network once, count what it costs, and keep its weights.

        Raises:
            ScenarioError: A network cannot be built for the data, or cannot be counted.
        """
        self._options: TrainingOptions = setup.options
        options = self._options
        shapes = task.input_shapes
        self.architecture = Architecture(
            networks=choose(options.networks, shapes, task.dataset.modalities),
            input_shapes=shapes,
            class_count=len(task.dataset.classes),
            decomposed=decomposed,
            generator=generator,
            frozen=options.frozen,
        )
        with torch.random.fork_rng(devices=[]):  # the same first weights everywhere
            torch.manual_seed(derive_seed(setup.seed, "initial weights"))
            model = build(self.architecture)
        check_frozen(model.net, options.frozen)
        start_from(model.net, options.initial)
        samples = task.examples()
        self.costs: CostTable = cost_table(model, samples, options.batch_size, setup.costs)
        self.costs_stated = setup.costs.stated is not None
        self._activations = {m: activation_bytes(model.net.trunks[m], x) for m, x in samples.items()}
        self._kept = {m: activation_bytes(model.net.trunks[m], x, once=True) for m, x in samples.items()}
        self._kept_by_generator = 0.0
        if model.generator:
            layers = (model.generator.hidden, model.generator.output)
            self._kept_by_generator = sum(
                activation_bytes(layer, torch.zeros(2, layer.in_features)) for layer in layers
            )
        self.numbers = {part: numbers(tensors) for part, tensors in take(model.parts()).items()}
        model.net.to(setup.torch_device)
        if model.generator:
            model.generator.to(setup.torch_device)
        dtype = torch.float64 if setup.precision == "float64" else torch.float32
        self.initial: State = take(model.parts(), dtype)
        self._restricted: dict[tuple[str, ...], Architecture] = {}
        choice: CompressorChoice = getattr(options, "compression", WHOLE)
        self.codec: Codec | None = None
        if choice.name != WHOLE.name:
            self.codec = Codec(choice, {}, setup.seed, not setup.has_server)
        self._value_bits = setup.costs.bits_per_parameter
        self._shares: dict[tuple[str, ...], float] = {}

    def require_memory(self, modalities: Sequence[tuple[str, ...]], rule: Rule, memory_bytes: float) -> None:
        """Check that models of devices with these ``modalities`` fit.

        A device's model, its successor under way, what it sent, and its optimizer state.

        Raises:
            ScenarioError: They do not.
        """
        held = sum(state_bytes(self.first(own)) for own in modalities)
        require_memory(
            (3 + len(rule.memories)) * held,
            memory_bytes,
            f"the models of {len(modalities)} devices",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )

    def restricted_to(self, modalities: tuple[str, ...]) -> Architecture:
        """Return the architecture of a device with ``modalities``."""
        if modalities not in self._restricted:
            self._restricted[modalities] = self.architecture.restricted_to(modalities)
        return self._restricted[modalities]

    def parts(self, modalities: Iterable[str]) -> list[str]:
        """Return the names of the parts of a device with ``modalities``."""
        common = ["common", "generator"] if self.architecture.generator else ["common"]
        return [part for m in modalities for part in modality_parts(m)] + common

    def kept(self, parts: Any, modalities: tuple[str, ...]) -> Kept:
        """Return a model with ``modalities`` for files; ``parts`` may be a future."""
        own = {module_path(part): parts[part] for part in self.parts(modalities)}
        return kept(self.restricted_to(modalities), own)

    def first(self, modalities: Iterable[str]) -> State:
        """Return the first model of a device with ``modalities``."""
        return {part: self.initial[part] for part in self.parts(modalities)}

    def bits(self, modalities: Iterable[str]) -> float:
        """Return the size of a message with the parts of ``modalities`` and the common ones [bit]."""
        return sum(self.costs.bits[m] for m in modalities) + self.costs.common_bits

    def sent_bits(self, modalities: Iterable[str]) -> float:
        """Return the size of such a message of a device, which may compress it [bit]."""
        key = tuple(modalities)
        if self.codec is None:
            return self.bits(key)
        if key not in self._shares:
            self._shares[key] = self.codec.share(self.first(key), self._value_bits)
        return round(self._shares[key] * self.bits(key), 6)

    def compression_flops(self, modalities: Iterable[str]) -> float:
        """Return the FLOPs of compressing it."""
        return (
            0.0 if self.codec is None else float(self.codec.compressor.FLOPS * self.sent_numbers(modalities))
        )

    def sent_numbers(self, modalities: Iterable[str]) -> int:
        """Return how many numbers such a message has."""
        return sum(self.numbers[part] for part in self.parts(modalities))

    def activation_bytes(self, modalities: Iterable[str]) -> float:
        """Return what a sample leads to in the forward passes of ``modalities``, with which stacks are sized [byte]."""
        return sum(self._activations[m] for m in modalities)

    def training_memory_bytes(
        self, modalities: tuple[str, ...], batch: int, full_batch: int, rule: Rule
    ) -> float:
        """Return the memory of a local update [byte]; see :func:`learners.training.costs.training_bytes`.

        All parts with their gradients, and the optimizers' memories of earlier rounds, the generator's Adam included.
        Of the activations the larger: those of the extractors, or those of the generator, which trains after them.

        Args:
            modalities: The device's.
            batch: Samples of its largest mini-batch.
            full_batch: Samples of a full one; so many the generator makes up.
            rule: The network's optimizer.
        """
        needed = 0.0
        for part in self.parts(modalities):
            layout = self.initial[part].layout
            remembered = 2 if part == "generator" else len(rule.memories)
            needed += training_bytes(layout.weights, layout.size - layout.weights, remembered, 0.0, 0)
        return needed + max(
            batch * sum(self._kept[m] for m in modalities), full_batch * self._kept_by_generator
        )

    def facts(self) -> dict[str, Any]:
        """Return sizes and costs, for the run's metadata."""
        costs = self.costs
        return {
            "numbers_by_part": self.numbers,
            "costs_stated": self.costs_stated,
            "flops_per_iteration": dict(costs.flops),
            **passes_facts(costs.passes),
            "common_flops": costs.common_flops,
            "generator_forward_flops": costs.generator_forward_flops,
            "generator_flops": costs.generator_flops,
            "bits": dict(costs.bits),
            "common_bits": costs.common_bits,
            **self._options.start_facts(),
        }

    def costs_of(self, samples: int, full: int) -> CostTable:
        """Return the costs of mini-batches of mean size; what is stated is stated for an iteration, whatever its size.

        Args:
            samples: Of all the mini-batches of a round.
            full: As many as they would be if all were full.
        """
        if self.costs_stated or samples == full:
            return self.costs
        return self.costs.with_smaller_batches(samples / full)


def module_of(network: Mapping[str, Any], tensors: Mapping[str, Any]) -> torch.nn.Module:
    """Return the network of a model that was kept, without a generator."""
    return filled(build(rebuilt(Architecture, network)).net, tensors)
