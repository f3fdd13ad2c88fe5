"""A network of one modality with one or several heads, as it differs from device to device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from learners.networks.built import built
from learners.networks.choice import NetworkChoice
from learners.networks.folded import linear
from learners.networks.start import check_frozen as check_frozen
from learners.networks.start import freeze
from learners.networks.start import start_from as start_from
from learners.training.kept import filled, rebuilt
from learners.training.kept import kept as kept
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from learners.networks.network import Trunk
    from learners.networks.state import State

TRUNK, EMBEDDING = "trunk", "embedding"
"""Parts of a state: the feature extractor, and the map of its features; beside them, each head is a part."""


def head_part(head: int) -> str:
    """Return the part of a state that is one head; like all parts it is called what the module is."""
    return f"heads.{head}"


class Outputs(NamedTuple):
    """The results of a forward pass of a batch of B.

    Attributes:
        embedding: What the heads see, mapped to the common width where there is one, not normalised [B, L].
        logits: Of each head, the main one first, [B, C] each.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...]


class ClassifierNet(nn.Module):
    """A trunk, linear classifiers on its features, and a linear map of them where embeddings need one width.

    Attributes:
        judged: The head whose accuracy is the model's; 0 is the main one.
    """

    judged: int = 0

    def __init__(self, trunk: Trunk, class_counts: tuple[int, ...], embedding_size: int | None) -> None:
        super().__init__()
        features = trunk.feature_count
        self.trunk = trunk
        self.heads = nn.ModuleList([nn.Linear(features, count) for count in class_counts])
        self.embedding = nn.Linear(features, embedding_size) if embedding_size is not None else None

    def forward(self, x: Tensor) -> Outputs:
        """Embedding and logits of ``x`` [B, ...]."""
        features = self.trunk(x)
        mapped = features if self.embedding is None else self.embedding(features)
        return Outputs(mapped, tuple(head(features) for head in self.heads))

    def stacked(self, tensors: Mapping[str, Mapping[str, Tensor]], x: Tensor) -> Outputs:
        """Embedding [K, B, L] and logits [K, B, C] of K such networks.

        Args:
            tensors: By part and name, parameters and buffers of the networks [K, *shape].
            x: Inputs [K, B, ...].
        """
        features = self.trunk.stacked(tensors[TRUNK], x)
        mapped = features if self.embedding is None else linear(features, tensors[EMBEDDING])
        return Outputs(mapped, tuple(linear(features, tensors[head_part(k)]) for k in range(len(self.heads))))

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, C] of the head that is judged, for samples of the one modality [B, ...]."""
        (x,) = inputs.values()
        return self(x).logits[self.judged]

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules by the name of the part: see :mod:`learners.networks.state`."""
        parts = {TRUNK: self.trunk, **{head_part(k): head for k, head in enumerate(self.heads)}}
        return parts if self.embedding is None else {**parts, EMBEDDING: self.embedding}


@dataclass(frozen=True)
class Classifier:
    """Everything that decides the shapes of such a network. Small, picklable, told apart by its text.

    Attributes:
        network: The trunk.
        input_shape: Shape of one sample.
        class_counts: Classes of each head, the main one first.
        embedding_size: Width that the embedding is mapped to; None where it is the features themselves.
        frozen: Parts that are not trained; see :func:`learners.networks.start.freeze`.
    """

    network: NetworkChoice
    input_shape: tuple[int, ...]
    class_counts: tuple[int, ...]
    embedding_size: int | None = None
    frozen: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """Return a text that architectures can be told apart by."""
        return repr(self).replace(", frozen=()", "")  # seeds of weights are derived from it

    def build(self) -> ClassifierNet:
        """Build a network with weights freshly drawn from PyTorch's global generator.

        Raises:
            ScenarioError: The trunk cannot take such inputs.
        """
        net = ClassifierNet(self.network.build(self.input_shape), self.class_counts, self.embedding_size)
        freeze(net, self.frozen)
        return net

    def net(self, torch_device: str = "cpu", place: int = 0) -> ClassifierNet:
        """Return a network for this thread to work with; see :func:`learners.networks.built.built`.

        Args:
            torch_device: Where it is.
            place: Tells apart networks that are needed at the same time.
        """
        return built((self.text, torch_device, place), lambda: self.build().to(torch_device))

    def predict(self, state: State, x: Tensor) -> Outputs:
        """Return what the model ``state`` says of ``x``, as a teacher does: in evaluation mode, changing nothing."""
        net = self.net(str(x.device), place=-1)
        net.eval()
        outputs: Outputs = functional_call(net, tensors_of(state), (x,))
        return outputs


def tensors_of(state: State) -> dict[str, Tensor]:
    """Return the tensors of ``state`` by their name in a :class:`ClassifierNet`."""
    return {f"{part}.{name}": tensor for part, own in state.items() for name, tensor in own.items()}


@contextmanager
def running_statistics_kept(net: nn.Module) -> Iterator[None]:
    """While this lasts, BatchNorm in training mode uses the batch's statistics and leaves its running ones alone."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def classifiers(
    networks: Mapping[int, NetworkChoice],
    input_shape: tuple[int, ...],
    class_counts: tuple[int, ...],
    embedding_size: int | None = None,
    frozen: tuple[str, ...] = (),
) -> dict[int, Classifier]:
    """Return the architecture of each device; each different one is built once, to see that it can be.

    Raises:
        ScenarioError: A network cannot take such inputs.
    """
    found = {
        k: Classifier(choice, input_shape, class_counts, embedding_size, frozen)
        for k, choice in networks.items()
    }
    for text in dict.fromkeys(one.text for one in found.values()):
        k, one = next((k, one) for k, one in found.items() if one.text == text)
        try:
            one.net()
        except ScenarioError as error:
            raise ScenarioError(f"learner.networks: device {k}: {error}") from error
    return found


def module_of(network: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ClassifierNet:
    """Return the network of a model that was kept."""
    net = rebuilt(Classifier, network).build()
    filled(net, tensors)
    return net
