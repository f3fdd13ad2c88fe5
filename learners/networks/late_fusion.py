"""The late-fusion network of FedHGB (Section VI-A): a trunk and a head per modality, and a head on all features.

With one modality the network is a trunk with one head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learners.networks.built import built
from learners.networks.choice import NetworkChoice
from learners.networks.folded import connect_all
from learners.networks.network import Trunk
from learners.networks.start import check_frozen as check_frozen
from learners.networks.start import freeze
from learners.networks.start import start_from as start_from
from netsim.core.errors import ScenarioError

FUSION = "fusion"
"""Name of the part that all devices hold (the fused head, or the only one), and key of its logits and losses."""

CLASSES = "cross_entropy"
"""What is minimised where labels are classes."""

HIDDEN = 512
"""Units of the heads' hidden layers if several modalities are fused and the scenario gives no number."""


def trunk_part(modality: str) -> str:
    """Return the name of the part with a modality's feature extractor ψ_m."""
    return f"trunk/{modality}"


def head_part(modality: str) -> str:
    """Return the name of the part with a modality's own classifier."""
    return f"head/{modality}"


def module_path(part: str) -> str:
    """Return the path of a part's module in the network."""
    kind, _, modality = part.partition("/")
    return f"{kind}s.{modality}" if modality else kind


class Outputs(NamedTuple):
    """The outputs of one forward pass for a batch of B and C classes.

    Attributes:
        fused: Logits of the fused head [B, C].
        heads: Logits of each modality's own head, for the samples that have the modality [B_m, C]. Modalities without
            samples, or without a head of their own, are missing.
    """

    fused: Tensor
    heads: Mapping[str, Tensor]


class LateFusionNet(nn.Module):
    """M trunks, with a two-layer head each if these are trained, and a fused head on all their features.

    Attributes:
        loss: What is minimised.

    The fused head has inputs for the features of every modality of the task, with zeros if the device has no trunk for
    it or the sample lacks it. So it has the same shape on all devices and can be averaged. It is "two fully connected
    layers and a prediction layer"; the paper gives their width.

    With one modality in the task there is one head: a prediction layer, after one hidden layer if ``hidden`` is given.
    """

    loss: str = CLASSES

    def __init__(
        self,
        trunks: Mapping[str, Trunk],
        feature_counts: Mapping[str, int],
        class_count: int,
        hidden: int | None,
        own_heads: bool,
    ) -> None:
        """Build the network of a device.

        Args:
            trunks: Trunks of the modalities that the device owns.
            feature_counts: Number of features of every modality of the task, in the order of concatenation.
            class_count: Classes C.
            hidden: Units of each hidden layer of the heads; None for no hidden layer.
            own_heads: Whether each modality has a head of its own.
        """
        super().__init__()
        self.modalities = tuple(trunks)
        self.feature_counts = dict(feature_counts)
        self.trunks = nn.ModuleDict(trunks)
        own = trunks if own_heads else ()
        one_layer = () if hidden is None else (hidden,)
        self.heads = nn.ModuleDict({m: Head(feature_counts[m], one_layer, class_count) for m in own})
        layers = one_layer if len(feature_counts) == 1 else 2 * one_layer
        self.fusion = Head(sum(feature_counts.values()), layers, class_count)
        self._parts: dict[str, nn.Module] = {}
        for m in trunks:
            self._parts[trunk_part(m)] = self.trunks[m]
            if m in self.heads:
                self._parts[head_part(m)] = self.heads[m]
        self._parts[FUSION] = self.fusion

    def forward(
        self, inputs: Mapping[str, Tensor], batch: int, present: Mapping[str, Tensor] | None = None
    ) -> Outputs:
        """Compute the logits of all heads.

        Args:
            inputs: Inputs by modality, [B_m, ...], of the samples that have it; without modalities that no sample has.
            batch: Number of samples B.
            present: Places of these samples in the batch, int64 [B_m]; by default every sample has the modality.
        """
        modules = self.parts()
        zeros = next(self.fusion.parameters()).new_zeros
        return self._outputs(lambda part, x: modules[part](x), zeros, (batch,), inputs, present or {})

    def stacked(
        self,
        tensors: Mapping[str, Mapping[str, Tensor]],
        inputs: Mapping[str, Tensor],
        batch: int,
        present: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Return the logits of K such networks; see :meth:`forward`.

        Args:
            tensors: Parameters and buffers of the networks, by part and name [K, *shape].
            inputs: Inputs by modality [K, B_m, ...]; if a network's batch has fewer samples of it, padded arbitrarily.
            batch: B, number of samples of each network.
            present: Places of those samples in each batch by modality, int64 [K, B_m]; B for padding.
        """
        modules = self.parts()
        like = next(iter(tensors[FUSION].values()))
        return self._outputs(
            lambda part, x: modules[part].stacked(tensors[part], x),  # type: ignore[operator]
            like.new_zeros,
            (len(like), batch),
            inputs,
            present or {},
        )

    def _outputs(
        self,
        through: Callable[[str, Tensor], Tensor],
        zeros: Callable[..., Tensor],
        batch: tuple[int, ...],
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Outputs:
        """Run a forward pass: ``through`` runs a part on a tensor, and ``batch`` is [B] or [K, B]."""
        heads, features = {}, []
        for m, count in self.feature_counts.items():
            if m not in inputs:
                features.append(zeros(*batch, count))
                continue
            own = through(trunk_part(m), inputs[m])
            if m in self.heads:
                heads[m] = through(head_part(m), own)
            features.append(_placed(own, present[m], batch) if m in present else own)
        together = (
            torch.cat(features, dim=-1) if len(features) > 1 else features[0]
        )  # cat copies a single one too
        return Outputs(through(FUSION, together), heads)

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, C] of the fused head for complete samples, by modality [B, ...]."""
        own = {m: inputs[m] for m in self.modalities}
        return self(own, len(next(iter(own.values())))).fused

    def own_heads(self, modality: str) -> list[nn.Module]:
        """Return a list of the modality's own head; empty if it has none."""
        return [self.heads[modality]] if modality in self.heads else []

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules that are sent together, by the part's name; see :mod:`learners.networks.state`."""
        return self._parts


class Head(nn.Sequential):
    """Linear layers from features to logits, with ReLUs between them."""

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise((features, *hidden, classes)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return the logits [K, batch, classes] of K heads from features [K, batch, features]."""
        return connect_all(x, tensors, "", self)


def _placed(features: Tensor, places: Tensor, batch: tuple[int, ...]) -> Tensor:
    """Return ``features`` [..., B_m, L] at their ``places`` in the batch [..., B, L]; place B is dropped."""
    count = features.shape[-1]
    if len(batch) == 1:
        return features.new_zeros(*batch, count).index_copy(0, places, features)
    *networks, size = batch
    room = features.new_zeros(*networks, size + 1, count)
    return room.scatter(-2, places[..., None].expand_as(features), features)[..., :size, :]


@dataclass(frozen=True)
class LateFusion:
    """The architecture of a late-fusion network: all that its shapes depend on. Small, picklable, compared by its text.

    Attributes:
        networks: The trunk of each modality that the device owns.
        input_shapes: Shape of one sample of each of them.
        feature_counts: Features of every modality of the task.
        class_count: Classes C.
        hidden: Units of each hidden layer of the heads; None for no hidden layer.
        own_heads: Whether each modality has a head of its own.
        frozen: Parts that are not trained; see :func:`learners.networks.start.freeze`.
        loss: What is minimised; of a real number the network has one output in place of C.
    """

    networks: Mapping[str, NetworkChoice]
    input_shapes: Mapping[str, tuple[int, ...]]
    feature_counts: Mapping[str, int]
    class_count: int
    hidden: int | None
    own_heads: bool
    frozen: tuple[str, ...] = ()
    loss: str = CLASSES

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities that the device owns."""
        return tuple(self.networks)

    def restricted_to(self, modalities: tuple[str, ...]) -> LateFusion:
        """Return the network of a device that owns ``modalities`` only; its fused head keeps inputs for all of them."""
        return LateFusion(
            {m: self.networks[m] for m in modalities},
            {m: self.input_shapes[m] for m in modalities},
            self.feature_counts,
            self.class_count,
            self.hidden,
            self.own_heads,
            self.frozen,
            self.loss,
        )

    def heads(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the heads of a device with ``modalities``: their own, if any, and the fused one."""
        return (*(modalities if self.own_heads else ()), FUSION)

    def parts(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the parts that a device with ``modalities`` holds."""
        kinds = (trunk_part, head_part) if self.own_heads else (trunk_part,)
        return (*(part(m) for m in modalities for part in kinds), FUSION)

    @cached_property
    def text(self) -> str:
        """Return a text that identifies the architecture."""
        text = repr(self)  # seeds of weights are derived from it
        return text.replace(", frozen=()", "").replace(f", loss={CLASSES!r}", "")

    def build(self) -> LateFusionNet:
        """Build a network with weights newly drawn from PyTorch's global generator."""
        trunks = build_trunks(self.networks, self.input_shapes)
        net = LateFusionNet(trunks, self.feature_counts, self.class_count, self.hidden, self.own_heads)
        net.loss = self.loss
        freeze(net, self.frozen)
        return net

    def net(self, torch_device: str = "cpu") -> LateFusionNet:
        """Return a network from this thread's cache; see :func:`learners.networks.built.built`."""
        return built((self.text, torch_device), lambda: self.build().to(torch_device))


def build_trunks(
    networks: Mapping[str, NetworkChoice], input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Trunk]:
    """Build a new trunk per modality.

    Raises:
        ScenarioError: A network cannot take its inputs.
    """
    trunks = {}
    for modality, choice in networks.items():
        try:
            trunks[modality] = choice.build(tuple(input_shapes[modality]))
        except ScenarioError as error:
            raise ScenarioError(f"learner.networks.{modality}: {error}") from error
    return trunks


def late_fusion(
    networks: Mapping[str, NetworkChoice],
    input_shapes: Mapping[str, tuple[int, ...]],
    class_count: int,
    hidden: int | None = None,
    own_heads: bool = True,
    frozen: tuple[str, ...] = (),
    loss: str = CLASSES,
) -> LateFusion:
    """Return the architecture of a network of all modalities; trunks are built once to find their feature counts.

    Args:
        networks: The trunk of each modality.
        input_shapes: Shape of one sample of each.
        class_count: Classes C.
        hidden: Units of each hidden layer of the heads; None for 512, and for no hidden layer with one modality.
        own_heads: Whether modalities' own heads are trained if there are several modalities; otherwise there are none.
        frozen: Parts that are not trained.
        loss: What is minimised.

    Raises:
        ScenarioError: A network cannot take its inputs, or a modality has the name of the fused head.
    """
    if FUSION in networks:
        raise ScenarioError(
            f"data: a modality is called {FUSION!r}, which is the name of the fused head; rename it"
        )
    with torch.random.fork_rng(devices=[]):
        trunks = build_trunks(networks, input_shapes)
    counts = {m: trunk.feature_count for m, trunk in trunks.items()}
    several = len(networks) > 1
    if hidden is None and several:
        hidden = HIDDEN
    return LateFusion(
        networks, input_shapes, counts, class_count, hidden, own_heads and several, frozen, loss
    )
