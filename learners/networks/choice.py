"""Choice of the network of each modality, and the model built from it, as values that can be sent to workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch.nn.parameter import is_lazy

from learners.choice import Choice
from learners.networks.built import built
from learners.networks.decomposed import DecomposedNet
from learners.networks.generator import Generator
from learners.networks.network import Trunk
from learners.networks.one_sample import takes_one_sample
from netsim.core.errors import ScenarioError, with_its_place
from netsim.core.registry import load


class NetworkChoice(Choice):
    """A network by name, with its options beside it: ``{name: small_resnet, widths: [16, 32]}``."""

    KIND: ClassVar[str] = "networks"

    def build(self, input_shape: tuple[int, ...]) -> Trunk:
        """Build a new trunk; see :meth:`learners.networks.network.Network.build`. Lazy layers get their sizes.

        Raises:
            ScenarioError: The network or its lazy layers cannot take such inputs, or it does not build a trunk.
        """
        network = load(self.KIND, self.name)
        try:
            trunk = network(network.Options.model_validate(self.options)).build(input_shape)
        except ScenarioError:
            raise
        except Exception as error:
            raise ScenarioError(
                f"network {self.name!r} cannot be built for samples {list(input_shape)}: {with_its_place(error)}"
            ) from error
        size = getattr(trunk, "feature_count", None)
        if not isinstance(trunk, Trunk) or not isinstance(size, int) or size < 1:
            raise ScenarioError(
                f"network {self.name!r} builds a {type(trunk).__name__} with feature_count {size!r}; it must be a "
                "learners.networks.network.Trunk whose feature_count is a whole number, at least 1"
            )
        for tensor in (*trunk.parameters(), *trunk.buffers()):
            if tensor.is_floating_point():  # as it will be in a state
                tensor.data = tensor.data.to(torch.get_default_dtype())
        if any(is_lazy(tensor) for tensor in (*trunk.parameters(), *trunk.buffers())):
            try:
                with torch.no_grad():
                    trunk.eval()(torch.zeros(2, *input_shape))
            except Exception as error:
                raise ScenarioError(
                    f"network {self.name!r} has lazy layers, which find no sizes with inputs {list(input_shape)} "
                    f"({with_its_place(error)}); state the sizes where the layers are made"
                ) from error
            trunk.train()
        return takes_one_sample(trunk)


DEFAULTS = {
    1: NetworkChoice(name="mlp"),
    3: NetworkChoice(name="small_resnet"),
    4: NetworkChoice(name="r3d_18"),
}
"""Default network by the number of axes of a sample: vectors, images, clips."""


def choose(
    choices: Mapping[str, NetworkChoice],
    input_shapes: Mapping[str, tuple[int, ...]],
    known: Collection[str],
) -> dict[str, NetworkChoice]:
    """Return a network for each modality in use; a small default if the scenario names none.

    Args:
        choices: Networks that the scenario names, by modality.
        input_shapes: Shape of one sample of each modality in use.
        known: All modalities of the data; a choice for one that is not in use is no error.

    Raises:
        ScenarioError: A network is chosen for a modality that the data does not have.
    """
    unknown = sorted(set(choices) - set(known))
    if unknown:
        raise ScenarioError(
            f"learner.networks: the data has no modality {', '.join(map(repr, unknown))}; "
            f"it has: {', '.join(known)}"
        )
    return {m: choices.get(m, DEFAULTS.get(len(shape), DEFAULTS[1])) for m, shape in input_shapes.items()}


@dataclass(frozen=True)
class GeneratorShape:
    """Sizes of the generator that do not follow from the network."""

    noise_size: int
    hidden: int


@dataclass(frozen=True)
class Architecture:
    """The architecture of a model: all that its shapes depend on. Small, picklable, compared by its text.

    Attributes:
        networks: The trunk of each modality.
        input_shapes: Shape of one sample of each modality.
        class_count: Classes C.
        decomposed: True for the network of Fig. 4, False for the concatenating one of Fig. 3.
        generator: The generator's sizes; None if the algorithm has none.
    """

    networks: Mapping[str, NetworkChoice]
    input_shapes: Mapping[str, tuple[int, ...]]
    class_count: int
    decomposed: bool = True
    generator: GeneratorShape | None = None

    def restricted_to(self, modalities: tuple[str, ...]) -> Architecture:
        """Return the architecture of a device that owns ``modalities`` only."""
        return Architecture(
            {m: self.networks[m] for m in modalities},
            {m: self.input_shapes[m] for m in modalities},
            self.class_count,
            self.decomposed,
            self.generator,
        )

    def model(self, torch_device: str = "cpu") -> Model:
        """Return a model of this architecture from this thread's cache; see :func:`learners.networks.built.built`."""
        return built((self.text, torch_device), lambda: _build_on(self, torch_device))

    @cached_property
    def text(self) -> str:
        """Return a text that identifies the architecture."""
        return repr(self)


@dataclass
class Model:
    """A multi-modal network and, if the algorithm has one, its generator."""

    net: DecomposedNet
    generator: Generator | None

    def parts(self) -> dict[str, torch.nn.Module]:
        """Return the modules by the name of the part, generator included."""
        return {**self.net.parts(), **({"generator": self.generator} if self.generator else {})}


def _build_on(architecture: Architecture, torch_device: str) -> Model:
    model = build(architecture)
    model.net.to(torch_device)
    if model.generator:
        model.generator.to(torch_device)
    return model


def build(architecture: Architecture) -> Model:
    """Build a model with weights newly drawn from PyTorch's global generator.

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
    generator = None
    if architecture.generator:
        sizes = architecture.generator
        generator = Generator(sizes.noise_size, architecture.class_count, sizes.hidden, net.common_count)
    return Model(net, generator)
