"""The architecture of a model as a value that can be sent to workers, and the model built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from learners.networks.built import built
from learners.networks.choice import NetworkChoice
from learners.networks.decomposed import DecomposedNet
from learners.networks.generator import Generator
from learners.networks.start import freeze
from netsim.core.errors import ScenarioError


@dataclass(frozen=True)
class GeneratorShape:
    """Sizes of the generator that do not follow from the network."""

    noise_size: int
    hidden: int


@dataclass(frozen=True)
class Architecture:
    """All that determines the shapes of a model; small, picklable and hashable by its text.

    Attributes:
        networks: The trunk of each modality.
        input_shapes: Shape of one sample of each modality.
        class_count: Number of classes, C.
        decomposed: Whether it is the decomposed network of Fig. 4, not the concatenating one of Fig. 3.
        generator: The generator's sizes; None if the algorithm has none.
        frozen: Parts of the network that are not trained; see :func:`learners.networks.start.freeze`.
    """

    networks: Mapping[str, NetworkChoice]
    input_shapes: Mapping[str, tuple[int, ...]]
    class_count: int
    decomposed: bool = True
    generator: GeneratorShape | None = None
    frozen: tuple[str, ...] = ()

    def restricted_to(self, modalities: tuple[str, ...]) -> Architecture:
        """Return the architecture of a device that has only ``modalities``."""
        return Architecture(
            {m: self.networks[m] for m in modalities},
            {m: self.input_shapes[m] for m in modalities},
            self.class_count,
            self.decomposed,
            self.generator,
            self.frozen,
        )

    def model(self, torch_device: str = "cpu") -> Model:
        """Return this thread's model of the architecture; see :func:`learners.networks.built.built`."""
        return built((self.text, torch_device), lambda: _build_on(self, torch_device))

    @cached_property
    def text(self) -> str:
        """Return a text that is equal for equal architectures only."""
        return repr(self).replace(", frozen=()", "")  # seeds of weights are derived from it


@dataclass
class Model:
    """A multi-modal network and, if the algorithm has one, its generator."""

    net: DecomposedNet
    generator: Generator | None

    def parts(self) -> dict[str, torch.nn.Module]:
        """Return the modules by the name of the part, generator included."""
        return {**self.net.parts(), **({"generator": self.generator} if self.generator else {})}


def module_path(part: str) -> str:
    """Return the path of a part's module in the network; the generator is beside it."""
    kind, _, modality = part.partition("/")
    return {"trunk": f"trunks.{modality}", "specific": f"specific.{modality}", "common": "head"}.get(
        kind, kind
    )


def _build_on(architecture: Architecture, torch_device: str) -> Model:
    model = build(architecture)
    model.net.to(torch_device)
    if model.generator:
        model.generator.to(torch_device)
    return model


def build(architecture: Architecture) -> Model:
    """Build a model with weights drawn from PyTorch's global generator.

    Raises:
        ScenarioError: A network cannot take its inputs, or the networks' features do not fit together.
    """
    trunks = {}
    for modality, choice in architecture.networks.items():
        try:
            trunks[modality] = choice.build(tuple(architecture.input_shapes[modality]))
        except ScenarioError as error:
            raise ScenarioError(f"learner.networks.{modality}: {error}") from error
    counts = {m: trunk.feature_count for m, trunk in trunks.items()}
    if len(set(counts.values())) > 1:
        raise ScenarioError(
            "learner.networks: all modalities need the same number of features, since they share a classifier; "
            f"got {', '.join(f'{m}: {n}' for m, n in counts.items())}"
        )
    count = next(iter(counts.values()))
    if architecture.decomposed and count % 2:
        raise ScenarioError(
            f"learner.networks: the number of features must be even, half common and half specific; got {count}"
        )
    net = DecomposedNet(trunks, architecture.class_count, architecture.decomposed)
    freeze(net, architecture.frozen)
    generator = None
    if architecture.generator:
        sizes = architecture.generator
        generator = Generator(sizes.noise_size, architecture.class_count, sizes.hidden, net.common_count)
    return Model(net, generator)
