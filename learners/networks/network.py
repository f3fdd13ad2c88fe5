"""Base classes of networks: a trunk maps a batch of inputs of one modality to non-negative features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp

import netsim.core.options
from learners.networks.state import as_in_module, as_numbers

# PyTorch vectorises some operators by a loop; jobs.stacking: auto measures whether that pays off.
torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]


class Trunk(nn.Module):
    """A feature extractor φ(x; w) (DMML-KD, eq. 3): [batch, *input_shape] to [batch, feature_count].

    Attributes:
        feature_count: Length L of the features. A learner that decomposes them takes the first half as
            modality-common and the second as modality-specific, so it must be even.
        first_linear: Name of the linear layer that flattened inputs go to first, if ``stacked`` runs it with
            :func:`learners.networks.folded.connect`; it can be trained in dual form then.
    """

    feature_count: int
    first_linear: str | None = None
    _decomposes: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features of ``x``, non-negative as outputs of a ReLU."""
        raise NotImplementedError

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Compute features of many networks of this architecture at once; this module gives only the structure.

        The base class lets PyTorch vectorise ``forward``; override it with a faster form if there is one.

        Args:
            tensors: Parameters and buffers of K networks [K, *shape], by name in the module. Running statistics are
                updated in place if this module is in training mode.
            x: Inputs [K, batch, *input_shape].

        Returns:
            [K, batch, feature_count].
        """
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        moving = [name for name, _ in self.named_buffers()]
        dtypes = {name: tensor.dtype for name, tensor in (*self.named_parameters(), *self.named_buffers())}
        weights, rest = {}, {}
        for name, tensor in tensors.items():
            if name in trained:
                weights[name] = tensor
            else:
                dtype = dtypes[name]
                rest[name] = as_in_module(tensor, None if dtype.is_floating_point else dtype)

        def one(
            weights: Mapping[str, Tensor], rest: Mapping[str, Tensor], x: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            moved = {name: rest[name].clone() for name in moving}
            return functional_call(self, {**weights, **rest, **moved}, (x,)), moved

        def decomposed(
            weights: Mapping[str, Tensor], rest: Mapping[str, Tensor], x: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            features, _, moved = vjp(lambda weights: one(weights, rest, x), weights, has_aux=True)  # type: ignore[misc]
            return features, moved

        way = decomposed if self._decomposes else one
        try:
            features, moved = torch.vmap(way)(weights, rest, x)
        except RuntimeError as error:
            if self._decomposes or not weights:
                raise
            # PyTorch cannot vectorise a recurrent layer as a whole, only its operations when a gradient is needed.
            try:
                features, moved = torch.vmap(decomposed)(weights, rest, x)
            except RuntimeError:
                raise error from None
            self._decomposes = True
        for name in moving if self.training else ():
            tensors[name].copy_(as_numbers(moved[name]))
        found: Tensor = features
        return found


class Network(ABC):
    """A family of trunks; a scenario names one per modality.

    Attributes:
        Options: The model of the network's block in the scenario.
    """

    Options: ClassVar[type[netsim.core.options.Options]] = netsim.core.options.NoOptions

    def __init__(self, options: netsim.core.options.Options) -> None:
        self.options = options

    @abstractmethod
    def build(self, input_shape: Sequence[int]) -> Trunk:
        """Build a new trunk with weights newly drawn from PyTorch's global generator.

        Args:
            input_shape: Shape of one sample: [channels, height, width] or [features].

        Raises:
            ScenarioError: The network cannot take inputs of that shape.
        """
